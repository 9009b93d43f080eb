// The before/after slider: pointer (mouse, pen, touch) anywhere on the stage, arrow keys on the divider.

export class Compare {
  constructor(root, names) {
    const find = (id) => root.querySelector(`#${id}`);
    this.stage = find("stage");
    this.divider = find("divider");
    this.parts = {
      left: { image: find("over"), tag: find("tag-left"), select: find("left") },
      right: { image: find("under"), tag: find("tag-right"), select: find("right") },
    };
    this.names = names;
    this.urls = {};
    for (const part of Object.values(this.parts)) part.select.addEventListener("change", () => this.#draw());
    this.stage.addEventListener("pointerdown", (event) => this.#grab(event));
    this.divider.addEventListener("keydown", (event) => this.#key(event));
    this.move(50);
  }

  /** Shows blobs by key ("visible", ...), of the given size; the old ones are let go. */
  show(blobs, width, height) {
    for (const url of Object.values(this.urls)) URL.revokeObjectURL(url);
    this.urls = Object.fromEntries(Object.entries(blobs).map(([key, blob]) => [key, URL.createObjectURL(blob)]));
    this.stage.style.aspectRatio = `${width} / ${height}`;
    this.stage.style.maxWidth = `calc(76vh * ${width / height})`;
    const keys = Object.keys(blobs);
    for (const [side, fallback] of [["left", keys[0]], ["right", keys.at(-1)]]) {
      const select = this.parts[side].select;
      const chosen = keys.includes(select.value) ? select.value : fallback;
      select.replaceChildren(...keys.map((key) => new Option(this.names[key], key, false, key === chosen)));
    }
    this.#draw();
  }

  move(percent) {
    this.at = Math.min(100, Math.max(0, percent));
    this.stage.style.setProperty("--at", `${this.at}%`);
    this.divider.setAttribute("aria-valuenow", Math.round(this.at));
    const [left, right] = ["left", "right"].map((side) => this.parts[side].tag.textContent);
    this.divider.setAttribute("aria-valuetext", `${Math.round(this.at)} percent ${left}, the rest ${right}`);
  }

  #draw() {
    for (const { image, tag, select } of Object.values(this.parts)) {
      image.src = this.urls[select.value];
      image.alt = `${this.names[select.value]} image`;
      tag.textContent = this.names[select.value];
    }
    this.move(this.at);
  }

  #grab(event) {
    if (event.button) return;
    const follow = ({ clientX }) => {
      const box = this.stage.getBoundingClientRect();
      this.move((100 * (clientX - box.left)) / box.width);
    };
    this.stage.setPointerCapture(event.pointerId);
    this.stage.onpointermove = follow;
    this.stage.onpointerup = this.stage.onpointercancel = () => (this.stage.onpointermove = null);
    follow(event);
  }

  #key(event) {
    const steps = { ArrowLeft: -2, ArrowDown: -2, ArrowRight: 2, ArrowUp: 2, PageDown: -10, PageUp: 10 };
    const ends = { Home: 0, End: 100 };
    if (event.key in steps) this.move(this.at + steps[event.key]);
    else if (event.key in ends) this.move(ends[event.key]);
    else return;
    event.preventDefault();
  }
}
