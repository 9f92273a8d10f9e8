/** What all parts of the page use: its elements, its messages, its words. */

export const limits = JSON.parse(document.body.dataset.limits);
export const byId = (id) => document.getElementById(id);
export const write = (id, words) => (byId(id).textContent = words);
export const show = (id, isShown) => (byId(id).hidden = !isShown);
export const element = (name, properties) => Object.assign(document.createElement(name), properties);

export const size = ([width, height]) => `${width}x${height}`;
export const sentence = (words) => (words ? words[0].toUpperCase() + words.slice(1) + (/[.!?]$/.test(words) ? "" : ".") : "");
export const duration = (seconds) => (seconds < 100 ? `${Math.max(1, Math.round(seconds))} s` : `${Math.round(seconds / 60)} min`);
export const percent = (fraction) => `${Math.floor(100 * fraction)} %`;

export function fail(error) {
  write("error-words", error instanceof Error ? error.message : error);
  show("error", true);
}

export const clearError = () => show("error", false);

/** warnings: sentences of the server; where there is none, the element is hidden. */
export function warn(id, warnings) {
  write(id, warnings.join(" "));
  show(id, warnings.length > 0);
}

/** For screen readers, and only when it is new. */
export function say(words) {
  if (byId("said").textContent !== words) write("said", words);
}
