import { Compare } from "./compare.js";
import { acceptDrops, blobOf, matchPairs, sortDropped } from "./files.js";
import { element, showDetected, showMetrics } from "./panels.js";
import { getBlob, getJson, megabytes, post } from "./requests.js";

const NAMES = { visible: "Visible", infrared: "Infrared", fused: "Fused" };
const MODALITIES = ["visible", "infrared"];
const $ = (id) => document.getElementById(id);

const chosen = { visible: null, infrared: null };
const many = { visible: [], infrared: [] };
const compare = new Compare(document, NAMES);
let health = { restores: false, upload_bytes: Infinity, pairs: Infinity };
let busy = false;
let fusedFrom = null; // the form of the result that is shown
let run = 0;

// ---- what the user says

const manyMode = () => $("tab-many").getAttribute("aria-selected") === "true";

function prompt() {
  const says = document.querySelector("[name=mode]:checked").value === "say";
  return health.restores && says ? $("prompt").value.trim() || "clean" : "auto";
}

function settings() {
  return [["prompt", prompt()], ["strength", health.restores ? $("strength").value : "1"]];
}

function tell(kind, text) {
  const box = $("message");
  box.hidden = !text;
  box.className = `message ${kind}`;
  box.textContent = text || "";
}

function setBusy(text) {
  busy = Boolean(text);
  $("go").setAttribute("aria-disabled", busy);
  $("stage").classList.toggle("busy", busy);
  if (busy) $("go").replaceChildren(element("span", { className: "spinner" }), text);
  else $("go").textContent = manyMode() ? "Fuse all" : "Fuse";
}

/** Runs `work`, its errors told on the page. */
async function guarded(text, work) {
  if (busy) return;
  tell("", "");
  setBusy(text);
  try {
    await work((seconds) => setBusy(`Busy, again in ${seconds} s`));
  } catch (error) {
    tell("error", error.message);
  } finally {
    setBusy("");
  }
}

function checkSize(files) {
  const bytes = files.reduce((sum, file) => sum + file.size, 0);
  if (bytes > health.upload_bytes) {
    throw new Error(`The files have ${megabytes(bytes)} together, and this server takes ${megabytes(health.upload_bytes)} at a time.`);
  }
}

// ---- one pair

/** Shows an image in its place; a kind that browsers cannot show stays a name until the server's preview is there. */
function showThumbnail(modality, blob) {
  const drop = $(modality).closest(".drop");
  const image = drop.querySelector("img");
  if (image.src) URL.revokeObjectURL(image.src);
  image.hidden = false;
  drop.classList.add("filled", "shown");
  image.onerror = () => {
    image.hidden = true;
    drop.classList.remove("shown");
  };
  image.src = URL.createObjectURL(blob);
}

function choose(modality, file, sample) {
  chosen[modality] = file;
  showThumbnail(modality, file);
  const drop = $(modality).closest(".drop");
  drop.querySelector(".drop-text").textContent = file.name;
  drop.title = `${file.name}, ${megabytes(file.size)}`;
  for (const button of $("samples").children) button.setAttribute("aria-pressed", button.dataset.name === sample);
}

async function fuse(onWait) {
  const missing = MODALITIES.filter((modality) => !chosen[modality]);
  if (missing.length) throw new Error(`Choose ${missing.map((m) => `${m === "visible" ? "a" : "an"} ${m} image`).join(" and ")} first.`);
  const sources = MODALITIES.map((modality) => [modality, chosen[modality]]);
  checkSize(sources.map(([, file]) => file));
  const own = ++run;
  const response = await post("api/fuse", [...sources, ...settings(), ["detect", "true"], ["previews", "true"]], "application/json", onWait);
  const result = await response.json();
  const fused = blobOf(result.image, "image/png");
  const shown = Object.fromEntries(MODALITIES.map((modality) => [modality, blobOf(result.previews[modality], "image/jpeg")]));
  fusedFrom = sources;
  for (const [id, visible] of [["empty", false], ["toolbar", true], ["compare", true], ["panels", true]]) $(id).hidden = !visible;
  compare.show({ ...shown, fused }, result.width, result.height);
  for (const [modality, file] of sources) {
    const unseen = !$(modality).closest(".drop").classList.contains("shown");
    if (unseen && chosen[modality] === file) showThumbnail(modality, shown[modality]);
  }
  offerDownload(fused);
  $("caption").textContent = caption(result);
  $("detected-panel").hidden = !result.detected;
  $("panels").classList.toggle("alone", !result.detected);
  if (result.detected) showDetected($("detected"), result.detected, NAMES);
  if (result.warnings.length) tell("warning", result.warnings.join(" "));
  if (matchMedia("(max-width: 1020px)").matches) $("result").scrollIntoView({ block: "start", behavior: "smooth" });
  measure(fused, sources, own);
}

function caption(result) {
  const read = MODALITIES.filter((modality) => result.read[modality]).map((modality) => `${modality} ${result.read[modality].join(", ").replaceAll("_", " ")}`);
  const how = read.length ? `prompt read as ${read.join("; ")}` : "";
  return [`${result.width} × ${result.height}`, `${result.seconds.toFixed(2)} s`, how].filter(Boolean).join(" · ");
}

function offerDownload(fused) {
  const link = $("download");
  if (link.href) URL.revokeObjectURL(link.href);
  link.href = URL.createObjectURL(fused);
  link.download = `${chosen.visible.name.replace(/\.[^.]*$/, "")}-fused.png`;
}

async function measure(fused, sources, own) {
  $("metrics").replaceChildren(element("p", { className: "hint" }, element("span", { className: "spinner" }), "Measuring …"));
  try {
    const response = await post("api/metrics", [["fused", fused], ...sources], "application/json");
    const scores = await response.json();
    if (own === run) showMetrics($("metrics"), scores);
  } catch (error) {
    if (own === run) $("metrics").replaceChildren(element("p", { className: "hint" }, error.message));
  }
}

async function takeSample(name) {
  for (const modality of MODALITIES) {
    const blob = await getBlob(`api/samples/${name}/${modality}.png`);
    choose(modality, new File([blob], `${name}-${modality}.png`, { type: blob.type }), name);
  }
}

// ---- many pairs

function chooseMany(modality, files) {
  many[modality] = files;
  const text = $(`many-${modality}`).closest(".drop").querySelector(".drop-text");
  text.textContent = files.length === 1 ? "1 file" : `${files.length} files`;
  const { pairs, alone } = matchPairs(many.visible, many.infrared);
  const lone = alone.length ? `; without a partner: ${alone.slice(0, 3).join(", ")}${alone.length > 3 ? " …" : ""}` : "";
  if (many.visible.length && many.infrared.length) $("matched").textContent = `${pairs.length} ${pairs.length === 1 ? "pair" : "pairs"}${lone}.`;
}

async function fuseMany(onWait) {
  const { pairs, alone } = matchPairs(many.visible, many.infrared);
  if (!many.visible.length || !many.infrared.length) throw new Error("Choose the visible and the infrared images first.");
  if (alone.length) throw new Error(`“${alone[0]}” has no partner of that name; the files of a pair must have one name.`);
  if (pairs.length > health.pairs) throw new Error(`These are ${pairs.length} pairs, and this server takes ${health.pairs} at a time.`);
  checkSize([...many.visible, ...many.infrared]);
  const fields = MODALITIES.flatMap((modality) => many[modality].map((file) => [modality, file]));
  const response = await post("api/batch", [...fields, ...settings()], "application/zip", onWait);
  const url = URL.createObjectURL(await response.blob());
  element("a", { href: url, download: "fused.zip" }).click();
  setTimeout(() => URL.revokeObjectURL(url), 60_000);
  const failed = Number(response.headers.get("X-Lure-Failures"));
  const done = `${pairs.length - failed} of ${pairs.length} pairs fused into fused.zip.`;
  tell(failed ? "warning" : "good", failed ? `${done} What was wrong with the others stands in its errors.txt.` : done);
}

// ---- the page

function selectTab(tab) {
  for (const one of document.querySelectorAll("[role=tab]")) {
    const on = one === tab;
    one.setAttribute("aria-selected", on);
    one.tabIndex = on ? 0 : -1;
    $(one.getAttribute("aria-controls")).hidden = !on;
  }
  tell("", "");
  setBusy("");
}

function take(files, spot) {
  const sorted = sortDropped(files, spot);
  if (files.length > 2 || manyMode()) {
    selectTab($("tab-many"));
    for (const modality of MODALITIES) if (sorted[modality].length) chooseMany(modality, sorted[modality]);
    return;
  }
  for (const modality of MODALITIES) if (sorted[modality].length) choose(modality, sorted[modality][0]);
}

function addChips(conditions) {
  const parts = () => $("prompt").value.split(";").map((part) => part.trim()).filter(Boolean);
  const buttons = [];
  const draw = () => {
    for (const { button, sentence } of buttons) button.setAttribute("aria-pressed", parts().includes(sentence));
  };
  for (const modality of MODALITIES) {
    const group = element("div", {}, element("b", {}, NAMES[modality]));
    for (const { name, label, sentence } of conditions[modality]) {
      if (name === "clean") continue;
      const button = element("button", { type: "button", title: sentence }, label);
      button.addEventListener("click", () => {
        const said = parts();
        const left = said.filter((part) => part !== sentence);
        $("prompt").value = (left.length < said.length ? left : [...said, sentence]).join("; ");
        draw();
      });
      buttons.push({ button, sentence });
      group.append(button);
    }
    $("chips").append(group);
  }
  $("prompt").addEventListener("input", draw);
  draw();
}

function addSamples(samples) {
  for (const { name, title } of samples) {
    const image = element("img", { src: `api/samples/${name}/visible.png`, alt: "", loading: "lazy" });
    const button = element("button", { type: "button" }, image, title);
    button.dataset.name = name;
    button.setAttribute("aria-pressed", "false");
    button.addEventListener("click", () =>
      guarded("Fusing …", async (onWait) => {
        await takeSample(name);
        await fuse(onWait);
      }),
    );
    $("samples").append(button);
  }
}

function listen() {
  const tabs = [...document.querySelectorAll("[role=tab]")];
  for (const tab of tabs) {
    tab.addEventListener("click", () => busy || selectTab(tab));
    tab.addEventListener("keydown", (event) => {
      if (!["ArrowLeft", "ArrowRight"].includes(event.key) || busy) return;
      const other = tabs[1 - tabs.indexOf(tab)];
      selectTab(other);
      other.focus();
    });
  }
  for (const modality of MODALITIES) {
    $(modality).addEventListener("change", ({ target }) => target.files.length && choose(modality, target.files[0]));
    $(`many-${modality}`).addEventListener("change", ({ target }) => chooseMany(modality, [...target.files]));
  }
  for (const radio of document.querySelectorAll("[name=mode]")) {
    radio.addEventListener("change", () => ($("saying").hidden = radio.value !== "say"));
  }
  $("strength").addEventListener("input", () => ($("strength-value").textContent = `${Math.round(100 * $("strength").value)} %`));
  $("strength").addEventListener("change", () => fusedFrom && !manyMode() && guarded("Fusing …", fuse));
  $("form").addEventListener("submit", (event) => {
    event.preventDefault();
    if (manyMode()) guarded("Fusing all …", fuseMany);
    else guarded("Fusing …", fuse);
  });
  acceptDrops(document.body, take);
}

async function start() {
  listen();
  try {
    health = await getJson("api/health");
    $("model").textContent = health.model;
    $("model").hidden = false;
    $("restoring").hidden = !health.restores;
    addChips(await getJson("api/conditions"));
    addSamples(await getJson("api/samples"));
  } catch (error) {
    tell("error", error.message);
  }
}

start();
