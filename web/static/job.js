/** One job: its progress, and its result. */

import * as api from "./api.js";
import { Compare } from "./compare.js";
import { byId, clearError, duration, element, fail, percent, say, sentence, show, size, warn, write } from "./page.js";
import { Plot } from "./plot.js";

const plot = new Plot(byId("plot"));
const compare = new Compare();
const isOpen = (job) => job.state === "queued" || job.state === "running";

let shownId = null;
let shownState = null;
let shownPreview = 0;
let shownStage = null;
let opened = 0;
let stopFollowing = () => {};
let openAgain = () => {};

export const shownJob = () => shownId;

export function closeJob() {
  stopFollowing();
  shownId = shownState = null;
  shownPreview = 0;
  compare.clear();
  for (const id of ["job-view", "running", "failed", "finished"]) show(id, false);
  for (const id of ["preview", "preview-before"]) {
    show(id, false);
    byId(id).onload = null; // one that still loads is of this job, not of the next
    byId(id).removeAttribute("src");
  }
  for (const id of ["job-facts", "trouble", "done-words"]) write(id, "");
}

/** known: the job where it is known already. onChange: at each new state. onGone: when it is there no more. */
export async function openJob(id, known, onChange, onGone) {
  closeJob();
  shownId = id;
  const turn = ++opened; // the same job may be opened twice in a moment
  openAgain = () => openJob(id, null, onChange, onGone);
  write("job-name", "Loading");
  show("job-view", true);
  scrollTo(0, 0);
  const gone = (words) => {
    if (opened !== turn || shownId !== id) return;
    onGone();
    fail(words);
  };
  const update = (job) => {
    if (opened === turn && shownId === id) showJob(job, onChange);
  };
  try {
    const job = known ?? (await api.getJob(id));
    update(job);
    if (opened !== turn || shownId !== id) return;
    byId("job-name").focus({ preventScroll: true });
    if (!isOpen(job)) return;
    stopFollowing = api.follow(id, {
      onJob: update,
      onRemoved: () => gone("This picture was deleted."),
      onTrouble: (isLost) => write("trouble", isLost ? "connection lost, trying again" : ""),
    });
  } catch (error) {
    if (error.status === 404) gone(error);
    else if (opened === turn && shownId === id) {
      write("job-name", "Not loaded");
      fail(error);
    }
  }
}

function showJob(job, onChange) {
  const isNew = shownState !== job.state;
  shownState = job.state;
  const { part } = job;
  const from = part ? `a part of ${size([part.width, part.height])} at ${part.x}, ${part.y}` : size(job.size);
  const enlarged = job.out_size && size(job.out_size) !== size(job.size);
  const settings = Object.entries(job.settings).map(([name, value]) => `${name.replaceAll("_", " ")} ${value}`);
  write("job-name", job.name);
  write("job-facts", [enlarged ? `${from} to ${size(job.out_size)}` : from, ...settings].join(" · "));
  show("running", isOpen(job));
  show("failed", job.state === "failed");
  show("finished", job.state === "done");
  if (isOpen(job)) showProgress(job);
  else stopFollowing();
  if (!isNew) return;
  if (job.state === "done") showOutcome(job, enlarged);
  if (job.state === "failed") {
    document.title = `failed: ${job.name} - zssr`;
    write("failed-words", sentence(job.error));
  }
  onChange();
}

function showProgress({ id, name, state, position, progress }) {
  const ahead = position === 1 ? "1 picture is before this one" : `${position} pictures are before this one`;
  const waiting = position ? `waiting: ${ahead}` : "waiting: next in line";
  const stage = progress?.stage_name ?? (state === "queued" ? waiting : "beginning");
  const left = progress?.seconds_left;
  write("stage", stage);
  say(stage);
  write("time-left", progress ? `${percent(progress.fraction)}${left == null ? "" : `, about ${duration(left)} left`}` : "");
  byId("progress").value = progress?.fraction ?? 0;
  document.title = `${progress ? `${percent(progress.fraction)} ` : ""}${name} - zssr`;
  plot.show(progress?.curve ?? [], Math.ceil((progress?.stages ?? 1) / 2)); // each step is learned and applied
  const version = progress?.preview ?? 0;
  if (!version || version === shownPreview) return;
  // Each step has a first estimate of its own.
  const isSameStep = shownPreview && shownStage === progress.stage_number;
  shownStage = progress.stage_number;
  for (const view of isSameStep ? ["preview"] : ["preview", "preview-before"]) {
    byId(view).onload = () => show(view, true);
    byId(view).src = `${api.viewAddress(id, view)}?v=${version}`;
  }
  shownPreview = version;
}

function showOutcome({ id, name, size: from, out_size: to, expires, outcome }, enlarged) {
  document.title = `${name} - zssr`;
  say("done");
  compare.show({
    size: to ?? from,
    before: api.viewAddress(id, "before"),
    after: api.viewAddress(id, "after"),
    spread: outcome.spread ? api.viewAddress(id, "spread") : null,
    gain: outcome.spread_gain,
    beforeName: enlarged ? "bicubic" : "input",
  });
  const findings = outcome.findings ?? [];
  const notes = [...findings.map((finding) => `found: ${finding}`), ...outcome.notes];
  write("agreement", `${sentence(outcome.words)} Made in ${duration(outcome.seconds)}.`);
  write("unknown", sentence(outcome.unknown));
  byId("notes").replaceChildren(...notes.map((note) => element("li", { textContent: note })));
  show("kernel-box", outcome.kernel);
  if (outcome.kernel) byId("kernel").src = api.viewAddress(id, "kernel");
  warn("result-warning", outcome.warnings ?? []);
  for (const format of ["png", "jpg", "webp"]) byId(`download-${format}`).href = api.resultAddress(id, format);
  byId("download-sidecar").href = api.sidecarAddress(id);
  const until = new Date(expires).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
  write("expires", `The link opens in this browser until ${until}; then everything is deleted.`);
}

/** words: a promise, so that the click still counts as the permission when they arrive. */
async function copy(words, done) {
  write("done-words", "");
  try {
    const blob = words.then((text) => new Blob([text], { type: "text/plain" }));
    await navigator.clipboard.write([new ClipboardItem({ "text/plain": blob })]);
    write("done-words", done);
  } catch (error) {
    fail(error instanceof api.Refused ? error : "The browser does not allow copying here.");
  }
}

/** onGone: called when the job was deleted. */
export function listenForActions(onGone) {
  const remove = async () => {
    const id = shownId;
    stopFollowing();
    try {
      await api.removeJob(id);
    } catch (error) {
      if (error.status !== 404) {
        if (shownId === id) openAgain();
        fail(error);
        return;
      }
    }
    clearError();
    if (shownId === id) onGone();
  };
  byId("cancel").addEventListener("click", remove);
  for (const button of document.querySelectorAll(".delete")) {
    button.addEventListener("click", () => confirm("Delete this picture and its result?") && remove());
  }
  byId("copy-link").addEventListener("click", () => copy(Promise.resolve(location.href), "The link is copied."));
  byId("copy-data").addEventListener("click", () => copy(api.resultAsData(shownId), "The PNG is copied as a data URL."));
}
