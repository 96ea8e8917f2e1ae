// The image, what lies over it, points and boxes; see prompt_canvas.py for what is exchanged.
const LONGER_SIDE = 480; // of the picture in the page, in CSS pixels
const NEAR = 9; // CSS pixels within which a click means what is there already
const MODES = {
  on: "+ on the target",
  beside: "− beside it",
  box: "▭ box",
};

async function bitmap(bytes) {
  return bytes && bytes.byteLength ? createImageBitmap(new Blob([bytes], { type: "image/png" })) : null;
}

function render({ model, el }) {
  let mode = "on";
  let images = { picture: null, overlay: null };
  let drag = null; // [x0, y0, x1, y1] while a box is drawn

  const bar = document.createElement("div");
  const canvas = document.createElement("canvas");
  canvas.style.cssText = "display: block; max-width: 100%; cursor: crosshair; touch-action: none; margin-top: 4px";
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", "image with the mask; click to add a point, or drag a box, for SAM");
  el.append(bar, canvas);

  const buttons = {};
  for (const [name, label] of Object.entries(MODES)) {
    buttons[name] = button(label, () => choose(name));
  }
  button("clear", () => send({ points: [], boxes: [] }));

  function button(label, action) {
    const made = document.createElement("button");
    made.type = "button";
    made.textContent = label;
    made.style.cssText = "margin-right: 6px; padding: 4px 10px; cursor: pointer";
    made.addEventListener("click", action);
    bar.append(made);
    return made;
  }

  function choose(name) {
    mode = name;
    for (const [other, made] of Object.entries(buttons)) {
      made.setAttribute("aria-pressed", String(other === name));
      made.style.fontWeight = other === name ? "bold" : "normal";
    }
  }

  function send(changes) {
    for (const [name, value] of Object.entries(changes)) model.set(name, value);
    model.save_changes();
    draw();
  }

  // Canvas pixels for one image pixel, and image pixels for one CSS pixel on the page.
  const scale = () => canvas.width / (images.picture?.width || 1);
  const perCss = () => (images.picture?.width || 1) / (canvas.getBoundingClientRect().width || 1);

  function position(event) {
    const frame = canvas.getBoundingClientRect();
    const { width, height } = images.picture;
    const clamp = (value, limit) => Math.min(Math.max(value, 0), limit);
    return [clamp((event.clientX - frame.left) * perCss(), width), clamp((event.clientY - frame.top) * perCss(), height)];
  }

  function draw() {
    if (!images.picture) return;
    const { width, height } = images.picture;
    const factor = Math.max(1, LONGER_SIDE / Math.max(width, height));
    canvas.width = Math.round(width * factor);
    canvas.height = Math.round(height * factor);
    const pen = canvas.getContext("2d");
    pen.imageSmoothingEnabled = false;
    for (const image of [images.picture, images.overlay]) {
      if (image) pen.drawImage(image, 0, 0, canvas.width, canvas.height);
    }
    const s = scale();
    for (const [x0, y0, x1, y1] of [...model.get("boxes"), ...(drag ? [drag] : [])]) {
      stroke(pen, () => pen.rect(x0 * s, y0 * s, (x1 - x0) * s, (y1 - y0) * s), "#56B4E9");
      stroke(pen, () => cross(pen, x1 * s, y0 * s, Math.PI / 4), "#56B4E9");
    }
    for (const [x, y, label] of model.get("points")) {
      const [cx, cy] = [(x + 0.5) * s, (y + 0.5) * s];
      stroke(pen, () => (label ? cross(pen, cx, cy, 0) : line(pen, cx - 7, cy, cx + 7, cy)), label ? "#FFFFFF" : "#D55E00");
    }
  }

  function stroke(pen, path, color) {
    for (const [style, width] of [["rgba(0, 0, 0, 0.75)", 5], [color, 2.5]]) {
      pen.beginPath();
      path();
      pen.strokeStyle = style;
      pen.lineWidth = width;
      pen.stroke();
    }
  }

  function line(pen, x0, y0, x1, y1) {
    pen.moveTo(x0, y0);
    pen.lineTo(x1, y1);
  }

  function cross(pen, x, y, turn) {
    for (const angle of [turn, turn + Math.PI / 2]) {
      const [dx, dy] = [7 * Math.cos(angle), 7 * Math.sin(angle)];
      line(pen, x - dx, y - dy, x + dx, y + dy);
    }
  }

  // A click on a point, or on the cross at a box's corner, removes it.
  function removed(x, y) {
    const near = (u, v) => Math.hypot(u - x, v - y) <= NEAR * perCss();
    const points = model.get("points");
    const boxes = model.get("boxes");
    const point = points.findIndex(([u, v]) => near(u + 0.5, v + 0.5));
    if (point >= 0) {
      send({ points: points.filter((_, index) => index !== point) });
      return true;
    }
    const box = boxes.findIndex(([, y0, x1]) => near(x1, y0));
    if (box >= 0) send({ boxes: boxes.filter((_, index) => index !== box) });
    return box >= 0;
  }

  canvas.addEventListener("pointerdown", (event) => {
    if (!images.picture) return;
    event.preventDefault();
    const [x, y] = position(event);
    if (removed(x, y)) return;
    if (mode === "box") {
      drag = [x, y, x, y];
      canvas.setPointerCapture(event.pointerId);
      return;
    }
    const { width, height } = images.picture;
    const pixel = [Math.min(Math.floor(x), width - 1), Math.min(Math.floor(y), height - 1)];
    send({ points: [...model.get("points"), [...pixel, mode === "on" ? 1 : 0]] });
  });

  canvas.addEventListener("pointermove", (event) => {
    if (!drag) return;
    drag = [drag[0], drag[1], ...position(event)];
    draw();
  });

  canvas.addEventListener("pointerup", () => {
    if (!drag) return;
    const [x0, y0, x1, y1] = drag;
    drag = null;
    const box = [Math.min(x0, x1), Math.min(y0, y1), Math.max(x0, x1), Math.max(y0, y1)].map(Math.round);
    if (box[2] - box[0] >= 2 && box[3] - box[1] >= 2) send({ boxes: [...model.get("boxes"), box] });
    else draw();
  });

  canvas.addEventListener("pointercancel", () => {
    drag = null;
    draw();
  });

  async function load(name) {
    images[name] = await bitmap(model.get(name));
    draw();
  }

  choose(mode);
  for (const name of ["picture", "overlay"]) {
    model.on(`change:${name}`, () => load(name));
    load(name);
  }
  for (const name of ["points", "boxes"]) model.on(`change:${name}`, draw);
}

export default { render };
