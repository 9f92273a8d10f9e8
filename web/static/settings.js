/** From the form's fields to the settings that were changed. What fields there are, only the page knows. */

const fieldsOf = (form) => [...form.querySelectorAll("[data-setting]")];

/** A field's value as it is, or as it was before anyone touched it. */
function raw(field, untouched) {
  const own = field.querySelector(".own");
  if (own && !untouched && own.value.trim()) return own.value.trim();
  const inputs = [...field.querySelectorAll("input:not(.own), select")];
  const checked = untouched ? "defaultChecked" : "checked";
  if (inputs[0].type === "checkbox") return inputs[0][checked];
  if (inputs[0].type === "radio") return inputs.find((input) => input[checked])?.value ?? "";
  if (inputs[0].localName === "select") {
    const options = [...inputs[0].options];
    return (untouched ? (options.find((option) => option.defaultSelected) ?? options[0]) : inputs[0].selectedOptions[0]).value;
  }
  return (untouched ? inputs[0].defaultValue : inputs[0].value).trim();
}

function typed(value, kind) {
  return kind !== "text" && kind !== "bool" && Number.isFinite(Number(value)) ? Number(value) : value;
}

/** Name to value, only of what was changed; an emptied field means the default. */
export function changedSettings(form) {
  const changed = {};
  for (const field of fieldsOf(form)) {
    const value = raw(field, false);
    const isChanged = value !== "" && value !== raw(field, true) && !field.classList.contains("off");
    field.toggleAttribute("data-changed", isChanged);
    if (isChanged) changed[field.dataset.setting] = typed(value, field.dataset.kind);
  }
  for (const group of form.querySelectorAll("details")) {
    const count = group.querySelectorAll("[data-changed]").length;
    group.querySelector(".count").textContent = count ? `(${count} changed)` : "";
  }
  return changed;
}

/** Where a choice may also be typed, only one of the two counts. */
export function joinChoices(form) {
  for (const own of form.querySelectorAll(".own")) {
    const radios = [...own.closest("[data-setting]").querySelectorAll("input[type=radio]")];
    own.addEventListener("input", () => {
      for (const radio of radios) radio.checked = !own.value.trim() && radio.defaultChecked;
    });
    for (const radio of radios) radio.addEventListener("change", () => (own.value = ""));
  }
}

/** Fields that do not count for now. */
export function switchOff(form, names, off) {
  for (const field of fieldsOf(form).filter((each) => names.includes(each.dataset.setting))) {
    field.classList.toggle("off", off);
    for (const input of field.querySelectorAll("input, select")) input.disabled = off;
  }
}

/** Opens the folded group of a wrong value, so that the browser can show it. */
export function isValid(form) {
  form.querySelector(":invalid")?.closest("details")?.setAttribute("open", "");
  return form.reportValidity();
}
