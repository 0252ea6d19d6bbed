(() => {
  const marks = new Map(), off = new Map();
  const trials = mark => mark.dataset.t.split(" ");
  for (const mark of document.querySelectorAll("[data-t]"))
    for (const trial of trials(mark)) {
      if (!marks.has(trial)) marks.set(trial, []);
      marks.get(trial).push(mark);
    }
  let lit;
  const light = mark => {
    if (mark === lit) return;
    for (const each of document.querySelectorAll(".on")) each.classList.remove("on");
    lit = mark;
    for (const trial of mark ? trials(mark) : [])
      for (const each of marks.get(trial)) each.classList.add("on");
  };
  document.addEventListener("pointerover", event => light(event.target.closest("[data-t]")));

  const ranges = new Map();
  const hide = () => {
    for (const path of document.querySelectorAll("[data-y]")) {
      const places = path.dataset.y.split(" ");
      const out = [...ranges].some(([axis, [from, to]]) => !(places[axis] >= from && places[axis] <= to));
      if (out !== !!off.get(path.dataset.t)) {
        off.set(path.dataset.t, out);
        for (const mark of marks.get(path.dataset.t))
          mark.classList.toggle("off", trials(mark).every(trial => off.get(trial)));
      }
    }
  };
  for (const axis of document.querySelectorAll("[data-axis]")) {
    const bar = axis.nextElementSibling;
    const place = event =>
      new DOMPoint(event.clientX, event.clientY).matrixTransform(axis.getScreenCTM().inverse()).y;
    let start = null;
    const drag = event => {
      if (start === null) return;
      const range = [start, place(event)].sort((a, b) => a - b);
      const wide = range[1] - range[0] > 3;
      bar.setAttribute("y", range[0]);
      bar.setAttribute("height", wide ? range[1] - range[0] : 0);
      wide ? ranges.set(+axis.dataset.axis, range) : ranges.delete(+axis.dataset.axis);
      hide();
    };
    axis.addEventListener("pointerdown", event => {
      start = place(event);
      axis.setPointerCapture(event.pointerId);
      drag(event);
    });
    axis.addEventListener("pointermove", drag);
    axis.addEventListener("pointerup", () => { start = null; });
    axis.addEventListener("pointercancel", () => { start = null; });
  }
})();
