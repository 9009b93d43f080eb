// What stands beside the picture: conditions found, and metrics.

export function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}

const label = (name) => name.replaceAll("_", " ");

/** One bar a condition, those that auto acts on in colour. */
export function showDetected(root, detected, names) {
  root.replaceChildren(
    ...Object.entries(detected).map(([modality, conditions]) => {
      const present = conditions.filter((one) => one.present).map((one) => label(one.condition));
      const title = element("h3", {}, element("span", {}, names[modality]), element("span", {}, present.join(", ") || "nothing wrong"));
      return element("div", {}, title, ...conditions.map(bar));
    }),
    element("p", { className: "hint" }, "How sure the network is of each condition; auto acts on the coloured ones, the two surest at most."),
  );
}

function bar({ condition, probability, present }) {
  const share = element("i");
  share.style.setProperty("--share", `${100 * probability}%`);
  const percent = `${Math.round(100 * probability)} %`;
  return element("div", { className: present ? "bar present" : "bar" }, element("span", {}, label(condition)), share, element("span", {}, percent));
}

const FIRST = ["MI", "SCD", "VIF", "Qabf", "SSIM", "EN", "SD", "SF", "AG"];

/** Two tables: metrics that refer to the sources, and those of the fused image alone; the less usual ones folded. */
export function showMetrics(root, scores) {
  const first = (against) => FIRST.map((name) => scores.find((one) => one.name === name)).filter((one) => one.refers_to_sources === against);
  root.replaceChildren(
    table("Against both sources", first(true)),
    table("Of the result alone (noise raises them, too)", first(false)),
    element("details", {}, element("summary", {}, "More metrics"), table("", scores.filter((one) => !FIRST.includes(one.name)))),
    element("p", { className: "hint" }, "The sources are the images as given: where noise, haze or darkness was removed, likeness to them falls."),
  );
}

function table(title, scores) {
  const rows = scores.map(({ name, value, meaning, larger_is_better }) =>
    element(
      "tr",
      {},
      element("th", { scope: "row" }, name),
      element("td", { className: "number" }, value.toFixed(Math.abs(value) < 10 ? 3 : 2)),
      element("td", {}, larger_is_better ? meaning : `${meaning} (less is better)`),
    ),
  );
  const caption = title ? [element("caption", {}, title)] : [];
  return element("table", { className: "scores" }, ...caption, element("tbody", {}, ...rows));
}
