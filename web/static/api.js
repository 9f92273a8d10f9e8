/** All talk with the server. */

const root = "/api/v1";

/** The server's refusal: its message is one sentence fit to be shown. */
export class Refused extends Error {
  constructor(sentence, status) {
    super(sentence);
    this.status = status;
  }
}

function withWait(sentence, response) {
  const wait = Number(response.headers.get("Retry-After"));
  if (!wait) return sentence;
  return sentence.replace(/\.$/, "") + (/try again/.test(sentence) ? `, in ${wait} s at the earliest` : `; try again in ${wait} s`);
}

async function call(path, options) {
  let response;
  try {
    response = await fetch(root + path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Refused("The server does not answer. Please try again in a moment.", 0);
  }
  if (response.ok) return response;
  const answer = await response.json().catch(() => null);
  throw new Refused(withWait(answer?.error ?? `the server answered with error ${response.status}`, response), response.status);
}

const jobPath = (id) => `/jobs/${encodeURIComponent(id)}`;
const get = async (path) => (await call(path, { cache: "no-store" })).json();

export const getJob = (id) => get(jobPath(id));
export const getJobs = async () => (await get("/jobs")).jobs;
export const removeJob = (id) => call(jobPath(id), { method: "DELETE" });
export const viewAddress = (id, name) => `${root}${jobPath(id)}/views/${name}`;
export const resultAddress = (id, format) => `${root}${jobPath(id)}/result?format=${format}`;
export const sidecarAddress = (id) => `${root}${jobPath(id)}/sidecar`;

export async function diagnose(file, signal) {
  const body = new FormData();
  body.append("picture", file, file.name);
  return (await call("/diagnose", { method: "POST", body, signal })).json();
}

export async function startJob(file, { settings, part, exif }) {
  const body = new FormData();
  body.append("picture", file, file.name);
  if (Object.keys(settings).length) body.append("settings", JSON.stringify(settings));
  if (part !== "whole") body.append("part", part);
  if (exif !== "drop") body.append("exif", exif);
  return (await call("/jobs", { method: "POST", body })).json();
}

/** The result as a data URL. */
export async function resultAsData(id) {
  const text = (await (await call(`${jobPath(id)}/result?format=png&encoding=base64`)).text()).trim();
  return text.startsWith("data:") ? text : `data:image/png;base64,${text}`;
}

/**
 * Calls onJob with every state of a job until the returned function is called, through restarts of
 * the server; onTrouble(true) when the connection is lost, onTrouble(false) when it is back.
 */
export function follow(id, { onJob, onRemoved, onTrouble }) {
  let source;
  let asking;
  let losing;
  let ended = false;

  const well = () => {
    clearTimeout(losing);
    losing = undefined;
    onTrouble(false);
  };
  const stop = () => {
    ended = true;
    source?.close();
    clearTimeout(asking);
    clearTimeout(losing);
  };
  const removed = () => {
    stop();
    onRemoved();
  };

  function listen() {
    source = new EventSource(`${root}${jobPath(id)}/events`);
    source.addEventListener("open", well);
    source.addEventListener("job", (event) => {
      well();
      onJob(JSON.parse(event.data));
    });
    source.addEventListener("removed", removed);
    source.addEventListener("error", () => {
      // The server ends each stream after a minute: only what lasts is trouble.
      losing ??= setTimeout(() => onTrouble(true), 2500);
      if (source.readyState === EventSource.CLOSED) asking = setTimeout(ask, 2000);
    });
  }

  async function ask() {
    try {
      const job = await getJob(id);
      if (ended) return;
      well();
      onJob(job);
      if (!ended) listen();
    } catch (error) {
      if (ended) return;
      if (error.status === 404) removed();
      else {
        onTrouble(true);
        asking = setTimeout(ask, 2000);
      }
    }
  }

  listen();
  return stop;
}
