/* The live view of a job. What is shown is text nodes and numbers; nothing of a job is ever read as HTML. */

const LINES = 500;
const POINTS = 600;
const WIDTH = 560;
const HEIGHT = 180;
const EDGE = { left: 52, right: 12, top: 10, bottom: 24 };
// The kernel sends a sign of life every five seconds. A view that hears nothing for this long is not connected.
const SILENCE_MS = 15_000;
const CHECK_MS = 1_000;
const SVG = "http://www.w3.org/2000/svg";

/** Append points; a resumed attempt that goes back in steps overwrites what it repeats. */
export function extend(curve, points) {
  const kept = curve.slice();
  for (const point of points) {
    while (kept.length && kept[kept.length - 1][0] >= point[0]) {
      kept.pop();
    }
    kept.push(point);
  }
  if (kept.length <= 2 * POINTS) {
    return kept;
  }
  const gap = (kept.length - 1) / (POINTS - 1);
  return Array.from({ length: POINTS }, (_, index) => kept[Math.round(index * gap)]);
}

/** The model holds the whole; the kernel sends only what was added, numbered so that nothing is added twice. */
function initialize({ model }) {
  const receive = message => {
    if (message.points) {
      model.set("curve", extend(model.get("curve"), message.points));
    }
    if (message.lines) {
      const tail = model.get("tail");
      if (message.seq > tail.seq) {
        const before = message.fresh ? [] : tail.lines;
        model.set("tail", {
          lines: before.concat(message.lines).slice(-LINES),
          rest: message.rest,
          seq: message.seq
        });
      }
    }
  };
  model.on("msg:custom", receive);
  return () => model.off("msg:custom", receive);
}

function element(tag, className, attributes = {}) {
  const node = document.createElement(tag);
  node.className = className;
  for (const [name, value] of Object.entries(attributes)) {
    node.setAttribute(name, value);
  }
  return node;
}

function shape(tag, attributes, text) {
  const node = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) {
    node.setAttribute(name, String(value));
  }
  if (text !== undefined) {
    node.textContent = text;
  }
  return node;
}

const short = number => String(Number(number.toPrecision(3)));

function span(values) {
  const low = Math.min(...values);
  const high = Math.max(...values);
  return high > low ? [low, high] : [low - 0.5, high + 0.5];
}

function drawCurve(svg, curve) {
  svg.replaceChildren();
  svg.toggleAttribute("hidden", curve.length < 2);
  svg.style.display = curve.length < 2 ? "none" : "";
  if (curve.length < 2) {
    return;
  }
  const [first, last] = span(curve.map(point => point[0]));
  const [bottom, top] = span(curve.map(point => point[1]));
  const base = HEIGHT - EDGE.bottom;
  const right = WIDTH - EDGE.right;
  const place = ([step, loss]) => {
    const x = EDGE.left + ((step - first) / (last - first)) * (right - EDGE.left);
    const y = base - ((loss - bottom) / (top - bottom)) * (base - EDGE.top);
    return `${x.toFixed(1)},${y.toFixed(1)}`;
  };
  const newest = curve[curve.length - 1];
  svg.setAttribute("aria-label", `Loss ${short(newest[1])} at step ${newest[0]}, from ${short(curve[0][1])}`);
  svg.append(
    shape("path", { class: "ilab-axis", d: `M${EDGE.left},${EDGE.top}V${base}H${right}` }),
    shape("text", { x: EDGE.left - 6, y: EDGE.top + 9, "text-anchor": "end" }, short(top)),
    shape("text", { x: EDGE.left - 6, y: base, "text-anchor": "end" }, short(bottom)),
    shape("text", { x: right, y: EDGE.top + 9, "text-anchor": "end" }, "loss"),
    shape("text", { x: EDGE.left, y: HEIGHT - 6 }, String(first)),
    shape("text", { x: right, y: HEIGHT - 6, "text-anchor": "end" }, `step ${last}`),
    shape("polyline", { class: "ilab-line", points: curve.map(place).join(" ") })
  );
}

function render({ model, el }) {
  const root = element("section", "ilab-job", { "aria-label": "Job" });
  const head = element("div", "ilab-job-head");
  const name = element("strong", "ilab-job-name");
  const badge = element("span", "ilab-job-state", { role: "status" });
  const id = element("code", "ilab-job-id");
  const button = element("button", "ilab-job-button", { type: "button" });
  const bar = element("div", "ilab-job-bar", {
    role: "progressbar",
    "aria-label": "Progress",
    "aria-valuemin": "0",
    "aria-valuemax": "100"
  });
  const done = element("div", "ilab-job-done");
  const where = element("div", "ilab-job-where");
  const message = element("div", "ilab-job-message");
  const advice = element("div", "ilab-job-advice");
  const notice = element("div", "ilab-job-notice", { role: "alert" });
  const offline = element("div", "ilab-job-offline", { role: "alert" });
  const svg = shape("svg", { class: "ilab-job-curve", viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" });
  const details = element("details", "ilab-job-logbox");
  const summary = element("summary", "");
  const log = element("pre", "ilab-job-log", { role: "log", "aria-label": "Log", "aria-live": "off", tabindex: "0" });

  summary.textContent = "Log";
  details.open = true;
  details.append(summary, log);
  bar.append(done);
  head.append(name, badge, id, button);
  root.append(head, offline, bar, where, message, advice, notice, svg, details);
  el.append(root);

  // The static view of the same job lies beside this one for the saved file; on a live page one is enough.
  const hides = model.get("hides");
  if (/^[\w-]+$/.test(hides)) {
    const style = document.createElement("style");
    style.textContent = `.${hides} { display: none; }`;
    el.append(style);
  }

  let heard = Date.now();
  let doubtful = false;
  let connected = true;
  const hear = () => {
    heard = Date.now();
    doubtful = false;
    drawConnection();
  };
  // A restart of the kernel closes the widget's comm, which the widget manager reports, also for a comm that is
  // open again; then the next heartbeat decides. A killed kernel reports nothing.
  const doubt = () => {
    doubtful = true;
    drawConnection();
  };
  const isConnected = () => !doubtful && Date.now() - heard < SILENCE_MS;
  const drawConnection = () => {
    if (isConnected() === connected) {
      return;
    }
    connected = !connected;
    root.classList.toggle("ilab-stale", !connected);
    offline.textContent = connected
      ? ""
      : `Not connected since ${new Date(heard).toLocaleTimeString()}: the kernel of this view does not answer. ` +
        `The job may have gone on. See it live: %ilab attach ${model.get("job").id}`;
    drawJob();
  };

  const drawJob = () => {
    const job = model.get("job");
    name.textContent = job.name;
    badge.textContent = connected ? `${job.symbol} ${job.state}` : `? last seen ${job.state}`;
    badge.dataset.state = job.state;
    id.textContent = job.id;
    where.textContent = job.where;
    message.textContent = job.message;
    advice.textContent = job.advice;
    const known = typeof job.fraction === "number";
    const percent = known ? Math.round(job.fraction * 100) : 0;
    done.style.width = `${known ? job.fraction * 100 : 0}%`;
    bar.hidden = job.endless;
    bar.classList.toggle("ilab-unknown", !known && !job.ended);
    bar.setAttribute("aria-valuetext", job.where);
    if (known) {
      bar.setAttribute("aria-valuenow", String(percent));
    } else {
      bar.removeAttribute("aria-valuenow");
    }
    button.dataset.action = job.ended ? "resume" : "cancel";
    button.textContent = job.ended ? "Resume" : job.stopping ? "Stopping…" : "Cancel";
    button.hidden = job.ended && !job.resumable;
    button.disabled = job.stopping || !connected;
    button.title = connected ? "" : "Not connected";
  };
  const drawTail = () => {
    const tail = model.get("tail");
    const atEnd = log.scrollHeight - log.scrollTop - log.clientHeight < 24;
    log.textContent = tail.rest ? tail.lines.concat(tail.rest).join("\n") : tail.lines.join("\n");
    details.hidden = log.textContent === "";
    if (atEnd) {
      log.scrollTop = log.scrollHeight;
    }
  };
  const drawLoss = () => drawCurve(svg, model.get("curve"));
  const drawNotice = () => {
    notice.textContent = model.get("notice");
    if (notice.textContent) {
      drawJob();
    }
  };
  const click = () => {
    if (!connected) {
      return;
    }
    button.disabled = true;
    model.send({ action: button.dataset.action });
  };

  button.addEventListener("click", click);
  model.on("msg:custom", hear);
  model.on("change", hear);
  model.on("comm_live_update", doubt);
  const timer = setInterval(drawConnection, CHECK_MS);
  model.on("change:job", drawJob);
  model.on("change:tail", drawTail);
  model.on("change:curve", drawLoss);
  model.on("change:notice", drawNotice);
  drawJob();
  drawTail();
  drawLoss();
  drawNotice();
  requestAnimationFrame(() => (log.scrollTop = log.scrollHeight));

  return () => {
    clearInterval(timer);
    model.off("msg:custom", hear);
    model.off("change", hear);
    model.off("comm_live_update", doubt);
    model.off("change:job", drawJob);
    model.off("change:tail", drawTail);
    model.off("change:curve", drawLoss);
    model.off("change:notice", drawNotice);
  };
}

export default { initialize, render };
