/** Choosing a picture, and what happened to it. */

import { diagnose } from "./api.js";
import { byId, clearError, fail, limits, sentence, size, warn, write } from "./page.js";

const zone = byId("drop-zone");
const image = byId("chosen");
const invitation = zone.querySelector("strong").textContent;
const hint = byId("facts").textContent;

let chosen = null;
let looking = new AbortController();

export const chosenPicture = () => chosen;

function choose(file) {
  looking.abort();
  chosen = file;
  zone.classList.toggle("full", Boolean(file));
  zone.querySelector("strong").textContent = file?.name ?? invitation;
  byId("start").disabled = !file;
  image.hidden = true;
  write("facts", file ? "Looking at the picture" : hint);
  write("proposed", "");
  warn("diagnosis-warning", []);
  if (!file) return;
  image.src = URL.createObjectURL(file);
  look(file);
}

async function look(file) {
  looking = new AbortController();
  const { signal } = looking;
  try {
    const found = await diagnose(file, signal);
    image.src = found.thumbnail;
    write("facts", [size([found.width, found.height]), found.words].filter(Boolean).join(", "));
    write("proposed", sentence(found.proposed));
    warn("diagnosis-warning", found.warnings);
  } catch (error) {
    if (signal.aborted) return;
    // What is no picture is turned down; what could only not be looked at now may still be restored.
    if (error.status >= 400 && error.status < 500 && error.status !== 429) choose(null);
    else write("facts", "It was not looked at, but can be restored.");
    fail(error);
  }
}

async function chooseExample(name, take) {
  try {
    const response = await fetch(`/examples/${encodeURIComponent(name)}`);
    if (!response.ok) throw new Error();
    const blob = await response.blob();
    take(new File([blob], name, { type: blob.type }));
  } catch {
    fail("This example could not be loaded. Please try again in a moment.");
  }
}

/** beforeChoosing: called when a picture was given, on whichever view. */
export function listenForPictures(beforeChoosing) {
  const take = (file) => {
    if (!file) return;
    clearError();
    beforeChoosing();
    if (file.size <= limits.max_MB * 1e6) choose(file);
    else fail(`This picture has ${(file.size / 1e6).toFixed(2)} MB; this server takes pictures of up to ${limits.max_MB} MB.`);
  };
  image.addEventListener("load", () => {
    image.hidden = false;
    if (image.src.startsWith("blob:")) URL.revokeObjectURL(image.src);
  });
  byId("file-input").addEventListener("change", (event) => {
    take(event.target.files[0]);
    // So that the same file can be chosen again.
    event.target.value = "";
  });
  for (const button of document.querySelectorAll("[data-example]")) {
    button.addEventListener("click", () => chooseExample(button.dataset.example, take));
  }
  addEventListener("paste", (event) => take(event.clipboardData?.files[0]));
  addEventListener("dragover", (event) => {
    event.preventDefault();
    zone.classList.add("over");
  });
  addEventListener("dragleave", (event) => event.relatedTarget || zone.classList.remove("over"));
  addEventListener("drop", (event) => {
    event.preventDefault();
    zone.classList.remove("over");
    take(event.dataTransfer.files[0]);
  });
}
