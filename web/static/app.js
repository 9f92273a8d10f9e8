/** The page: its two views, their addresses, and the strip of results. */

import { getJobs, startJob, viewAddress } from "./api.js";
import { closeJob, listenForActions, openJob, shownJob } from "./job.js";
import { byId, clearError, element, fail, percent, show } from "./page.js";
import { chosenPicture, listenForPictures } from "./picture.js";
import { changedSettings, isValid, joinChoices, switchOff } from "./settings.js";

const form = byId("start-view");
let listingLater;

/* Starting */

function readForm() {
  const part = form.elements.part.value;
  switchOff(form, ["scale", "size"], part === "random");
  const settings = changedSettings(form);
  const exif = byId("keep-exif").checked ? "keep" : "drop";
  show("to-defaults", Object.keys(settings).length > 0 || part !== "whole" || exif !== "drop");
  return { settings, part, exif };
}

async function start() {
  const button = byId("start");
  if (button.disabled || !isValid(form)) return;
  clearError();
  button.disabled = true;
  try {
    const job = await startJob(chosenPicture(), readForm());
    history.pushState(null, "", `/jobs/${encodeURIComponent(job.id)}`);
    showView(job);
  } catch (error) {
    fail(error);
  } finally {
    button.disabled = !chosenPicture();
  }
}

/* Addresses */

function goTo(path) {
  if (path !== location.pathname) history.pushState(null, "", path);
  showView();
}

/** From a job that is there no more, to which no way should lead back. */
function leave() {
  history.replaceState(null, "", "/");
  showView();
}

/** What the address says. known: the job, where it is known already. */
function showView(known) {
  const id = known?.id ?? location.pathname.match(/^\/jobs\/([^/]+)\/?$/)?.[1];
  show("start-view", !id);
  if (id) openJob(id, known, listResults, leave);
  else {
    closeJob();
    document.title = "zssr";
    listResults();
  }
}

function followLink(event) {
  const link = event.target.closest("a");
  const isOwn = link && (link.pathname === "/" || link.pathname.startsWith("/jobs/"));
  if (!isOwn || event.button !== 0 || event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  clearError();
  goTo(link.pathname);
}

/* Previous results */

async function listResults() {
  clearTimeout(listingLater);
  const strip = byId("results-strip");
  try {
    const jobs = await getJobs();
    const focused = strip.contains(document.activeElement) ? document.activeElement.pathname : null;
    strip.replaceChildren(...jobs.map(resultItem));
    [...strip.querySelectorAll("a")].find((link) => link.pathname === focused)?.focus({ preventScroll: true });
    show("results", jobs.length > 0);
    if (jobs.some((job) => job.state === "queued" || job.state === "running")) listingLater = setTimeout(listResults, 4000);
  } catch {
    // The strip is an extra: what matters reports its own errors.
    listingLater = setTimeout(listResults, 10000);
  }
}

function resultItem(job) {
  const item = element("li");
  const link = element("a", { href: `/jobs/${encodeURIComponent(job.id)}`, title: job.name });
  const box = element("span", { className: "picture-box" });
  if (job.id === shownJob()) link.setAttribute("aria-current", "page");
  if (job.state === "done") box.append(element("img", { src: viewAddress(job.id, "thumbnail"), alt: "" }));
  else box.textContent = job.progress ? percent(job.progress.fraction) : job.state;
  link.append(box, element("span", { className: "title", textContent: job.name }));
  item.append(link);
  return item;
}

form.addEventListener("submit", (event) => {
  event.preventDefault();
  start();
});
for (const kind of ["input", "change"])
  form.addEventListener(kind, () => {
    clearError(); // it is of what was there before
    readForm();
  });
byId("to-defaults").addEventListener("click", () => {
  form.reset();
  readForm();
});
byId("error-close").addEventListener("click", clearError);
addEventListener("click", followLink);
addEventListener("popstate", () => {
  clearError();
  showView();
});

// Browsers put back what was typed before a reload; what is shown should be what is chosen.
form.reset();
joinChoices(form);
readForm();
listenForPictures(() => shownJob() && goTo("/"));
listenForActions(leave);
showView();
