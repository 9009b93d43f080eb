// Files that are dropped or chosen: which is visible, which infrared, and what belongs together.

const INFRARED = /(^|[^a-z])(ir|nir|lwir|mwir|swir|infrared|infra|thermal|therm|flir|heat)([^a-z]|$)/i;

/** Sorts dropped files into {visible: [...], infrared: [...]} by their names and folders; `spot` is where they fell. */
export function sortDropped(files, spot) {
  if (spot) return { visible: [], infrared: [], [spot]: files };
  const sorted = { visible: [], infrared: [] };
  for (const file of files) sorted[INFRARED.test(file.webkitRelativePath || file.name) ? "infrared" : "visible"].push(file);
  if (files.length === 2 && sorted.visible.length !== 1) return { visible: [files[0]], infrared: [files[1]] };
  return sorted;
}

/** Drops on `zone`: `take(files, spot)`, the spot being the `data-modality` of the element they fell on. */
export function acceptDrops(zone, take) {
  const spotOf = (event) => event.target.closest?.("[data-modality]");
  const mark = (event) => {
    for (const marked of zone.querySelectorAll(".over")) marked.classList.remove("over");
    if (event) (spotOf(event) || zone.querySelector(".viewer")).classList.add("over");
  };
  zone.addEventListener("dragover", (event) => {
    event.preventDefault();
    mark(event);
  });
  zone.addEventListener("dragleave", (event) => event.relatedTarget || mark(null));
  zone.addEventListener("drop", (event) => {
    event.preventDefault();
    mark(null);
    const files = [...event.dataTransfer.files];
    if (files.length) take(files, spotOf(event)?.dataset.modality);
  });
}

const stem = (file) => file.name.replace(/\.[^.]*$/, "");

/** How many pairs two lists of files make, and the names without a partner. */
export function matchPairs(visible, infrared) {
  const names = [visible, infrared].map((files) => new Set(files.map(stem)));
  const pairs = [...names[0]].filter((name) => names[1].has(name));
  const alone = [...names[0], ...names[1]].filter((name) => !(names[0].has(name) && names[1].has(name)));
  return { pairs, alone };
}

export function blobOf(base64, type) {
  return new Blob([Uint8Array.from(atob(base64), (c) => c.charCodeAt(0))], { type });
}
