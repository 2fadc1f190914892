"use strict";
// Draws what the JSON above holds. Every piece of text goes in as text, never as markup.

const data = JSON.parse(document.getElementById("data").textContent);
const SVG = "http://www.w3.org/2000/svg";
const LABEL = 92, RUN = 16, SLOT = 13, GAP = 10, TOP = 20, MANY = 32;
let step = 0;

function element(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) made.setAttribute(name, value);
  made.append(...children);
  return made;
}

function drawn(tag, attributes, text) {
  const made = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
  if (text !== undefined) made.textContent = text;
  return made;
}

const longest = Math.max(...data.sides.map((side) => side.end));
const main = document.getElementById("sides");
const violation = data.sides[0].at;
const taskName = (side, task) => (task >= 0 && task < side.tasks.length ? side.tasks[task] : "the check");

// ---- one side ------------------------------------------------------------------------------------------------------

class Side {
  constructor(side, number) {
    this.data = side;
    this.changing = new Set(side.later.flatMap(([, changes]) => Object.keys(changes)));
    if (side.missed) this.changing.add(side.missed);
    this.state = { ...side.first };
    this.at = 0; // how many of `later` the state holds
    this.undo = []; // what each of them replaced
    this.changed = new Set();
    const badge = element("span", { class: side.kind ? "badge bad" : "badge" }, side.kind || "no violation");
    this.chart = element("div", { class: "chart", tabindex: "0", role: "img" });
    this.lanes = element("div", { class: "lanes", "aria-hidden": "true" });
    this.time = element("div", { class: "time" }, this.lanes, this.chart);
    this.near = element("ol", { class: "near", "aria-label": "What happens around this step" });
    this.world = element("div", { class: "world" });
    const waits = side.waits.length ? " Dashed: waiting for a lock. Curves: a release and whom it let go on." : "";
    main.append(
      element("section", { class: "side", "aria-labelledby": `name${number}` },
        element("h2", { id: `name${number}` }, `${side.algorithm} `, badge),
        number && side.why ? element("p", {}, side.why) : "",
        this.time,
        element("p", { class: "legend" }, `Upper bars: who makes the steps, joined where one hands over to another; lower ones: the locks held.${waits}`),
        element("h3", {}, "Around this step"), this.near, this.world));
  }

  // A row of its own for holds and waits that overlap.
  slots(task) {
    const spans = this.data.holds.filter((h) => h[0] === task).map((h) => ({ lock: h[1], first: h[2], last: h[3], shared: h[4] }))
      .concat(this.data.waits.filter((w) => w[0] === task).map((w) => ({ lock: w[1], first: w[2], last: w[3], wait: true })));
    spans.sort((a, b) => a.first - b.first || b.last - a.last);
    const ends = [];
    for (const span of spans) {
      span.slot = ends.findIndex((end) => end <= span.first);
      if (span.slot < 0) span.slot = ends.push(0) - 1;
      ends[span.slot] = span.last;
    }
    return { spans, rows: ends.length };
  }

  timeline() {
    const side = this.data;
    const room = Math.max(160, this.time.clientWidth - LABEL - 14);
    this.unit = Math.max(room / (longest + 1), 3);
    const width = this.unit * (longest + 1) + 8;
    const lanes = side.tasks.map((_, task) => this.slots(task));
    const tops = [];
    let y = TOP;
    for (const lane of lanes) {
      tops.push(y);
      y += RUN + lane.rows * SLOT + GAP;
    }
    const svg = drawn("svg", { width, height: y + 4, "aria-hidden": "true" });
    this.svg = svg;
    const x = (at) => 2 + this.unit * at;
    const gap = [1, 2, 5, 10, 20, 50, 100, 200, 500, 1000, 2000, 5000].find((n) => n * this.unit >= 44) || 10000;
    for (let at = 0; at <= longest; at += gap) {
      svg.append(drawn("line", { x1: x(at), x2: x(at), y1: TOP - 5, y2: y, class: "axis" }));
      svg.append(drawn("text", { x: x(at) + 2, y: 12, class: "soft" }, at));
    }
    lanes.forEach((lane, task) => {
      for (const span of lane.spans) {
        const top = tops[task] + RUN + span.slot * SLOT;
        const wide = Math.max(1.5, this.unit * (span.last - span.first));
        const bar = drawn("rect", { x: x(span.first), y: top + 2, width: wide, height: SLOT - 3, rx: 2,
          class: span.wait ? "wait" : `hold t${task % 6}` });
        const lock = side.locks[span.lock];
        bar.append(drawn("title", {}, `${span.wait ? "waits for" : "holds"} ${lock}${span.shared ? " (shared)" : ""}, steps ${span.first} to ${span.last}`));
        svg.append(bar);
        if (wide > lock.length * 5.6 + 8) svg.append(drawn("text", { x: x(span.first) + 4, y: top + SLOT - 3 }, lock));
      }
    });
    for (const [task, first, last] of side.runs) {
      if (task >= tops.length) continue;
      const bar = drawn("rect", { x: x(first - 1), y: tops[task], width: this.unit * (last - first + 1), height: RUN - 3, rx: 2, class: `run t${task % 6}` });
      bar.append(drawn("title", {}, `${taskName(side, task)}: steps ${first} to ${last}`));
      svg.append(bar);
    }
    for (let i = 1; i < side.runs.length; i++) {
      const [from] = side.runs[i - 1], [to, first] = side.runs[i];
      if (tops[from] === undefined || tops[to] === undefined) continue;
      svg.append(drawn("line", { x1: x(first - 1), x2: x(first - 1), y1: tops[from] + RUN / 2, y2: tops[to] + RUN / 2, class: "handoff" }));
    }
    for (const [at, task, text, flags] of side.events) {
      if (!(flags & 2) || task < 0) continue;
      const dot = drawn("circle", { cx: x(at - 0.5), cy: tops[task] + (RUN - 3) / 2, r: Math.min(4, Math.max(2, this.unit / 2)), class: "dot" });
      dot.append(drawn("title", {}, text));
      svg.append(dot);
    }
    for (const [, from, fromStep, to, toStep] of side.flows) {
      const y1 = tops[from] + RUN - 3, y2 = tops[to] + RUN - 3, x1 = x(fromStep), x2 = x(toStep);
      svg.append(drawn("path", { d: `M${x1} ${y1} C${x1 + 12} ${y1 + 14}, ${x2 - 12} ${y2 + 14}, ${x2} ${y2}`, class: "flow" }));
    }
    if (data.differs !== null) svg.append(drawn("line", { x1: x(data.differs), x2: x(data.differs), y1: TOP - 5, y2: y, class: "differs" }));
    if (side.at !== null) svg.append(drawn("line", { x1: x(side.at), x2: x(side.at), y1: TOP - 5, y2: y, class: "bad" }));
    const names = drawn("svg", { width: LABEL, height: y + 4 });
    side.tasks.forEach((name, task) => {
      const short = name.length > 14 ? `${name.slice(0, 13)}…` : name;
      names.append(drawn("text", { x: 5, y: tops[task] + RUN - 5 }, short));
    });
    this.lanes.replaceChildren(names);
    this.cursor = drawn("line", { x1: 0, x2: 0, y1: 0, y2: y, class: "cursor" });
    svg.append(this.cursor);
    svg.addEventListener("click", (event) => go(Math.round((event.clientX - svg.getBoundingClientRect().left) / this.unit + 0.49)));
    const runs = side.runs.map(([task, first, last]) => `${taskName(side, task)} ${first} to ${last}`);
    this.chart.setAttribute("aria-label", `Timeline of ${side.algorithm}: ${runs.slice(0, 40).join(", ")}`);
    this.chart.replaceChildren(svg);
  }

  travel(to) {
    this.changed = new Set();
    const later = this.data.later;
    while (this.at < later.length && later[this.at][0] <= to) {
      const [at, changes] = later[this.at];
      const old = {};
      for (const [name, value] of Object.entries(changes)) {
        old[name] = this.state[name];
        this.state[name] = value;
      }
      this.undo[this.at++] = old;
      if (at === to) Object.keys(changes).forEach((name) => this.changed.add(name));
    }
    while (this.at && later[this.at - 1][0] > to) Object.assign(this.state, this.undo[--this.at]);
    if (this.at && later[this.at - 1][0] === to) Object.keys(later[this.at - 1][1]).forEach((name) => this.changed.add(name));
  }

  show(to) {
    const side = this.data;
    this.travel(to);
    const position = 2 + this.unit * Math.min(to, side.end);
    this.cursor.setAttribute("x1", position);
    this.cursor.setAttribute("x2", position);
    if (position < this.chart.scrollLeft + 20 || position > this.chart.scrollLeft + this.chart.clientWidth - 20) {
      this.chart.scrollLeft = position - this.chart.clientWidth / 2;
    }
    this.showNear(to);
    this.world.replaceChildren(...[this.lists(), ...this.tables(to), this.held(to), this.pages(), this.values()].flat().filter(Boolean));
  }

  // The events of this step, and a few of those around it that are worth a row.
  showNear(to) {
    const events = this.data.events;
    let low = 0, high = events.length;
    while (low < high) {
      const middle = (low + high) >> 1;
      if (events[middle][0] < to) low = middle + 1; else high = middle;
    }
    const rows = [];
    for (let i = low - 1; i >= 0 && rows.length < 3; i--) if (events[i][3] & 1) rows.unshift(events[i]);
    let after = 0;
    for (let i = low; i < events.length && after < 3; i++) {
      if (events[i][0] === to) rows.push(events[i]);
      else if (events[i][3] & 1) { rows.push(events[i]); after++; }
    }
    this.near.replaceChildren(...rows.map(([at, task, text, flags]) => {
      const row = element("li", { class: task >= 0 ? `t${task % 6}` : "" },
        element("span", { class: "number" }, String(at)),
        element("span", flags & 2 ? { class: "missed" } : {}, element("b", {}, `${taskName(this.data, task)} `), text));
      if (at === to) row.setAttribute("aria-current", "step");
      return row;
    }));
  }

  mark(name, made) {
    if (this.changed.has(name)) {
      made.classList.add("changed");
      made.title = "changed in this step";
    }
    return made;
  }

  held(to) {
    const side = this.data;
    const rows = side.tasks.map((name, task) => {
      const held = side.holds.filter((h) => h[0] === task && h[2] <= to && (to < h[3] || (!h[5] && to >= h[3]))).map((h) => side.locks[h[1]]);
      const waits = side.waits.filter((w) => w[0] === task && w[2] <= to && (to < w[3] || !w[4])).map((w) => side.locks[w[1]]);
      return [name, held, waits, task];
    }).filter(([, held, waits]) => held.length || waits.length);
    if (!rows.length) return null;
    return [element("h3", {}, "Locks"), ...rows.map(([name, held, waits, task]) =>
      element("div", { class: `row t${task % 6}` }, element("span", { class: "name" }, name),
        ...held.map((lock) => element("span", { class: "chip" }, lock)),
        ...waits.map((lock) => element("span", { class: "chip" }, `waits for ${lock}`))))];
  }

  lists() {
    const names = Object.keys(this.state).filter((name) => name.startsWith("list:") && this.state[name])
      .sort((a, b) => a.slice(5) - b.slice(5));
    if (!names.length) return null;
    const walkers = Object.entries(this.state).filter(([name, value]) => name.startsWith("walker:") && value);
    const shown = names.filter((name) => this.changing.has(name) || this.state[name].length > 1).slice(0, 24);
    if (!shown.length) return null;
    return [element("h3", {}, "Lists, in the order of the walk"), ...shown.map((name) => {
      const number = Number(name.slice(5));
      const here = walkers.filter(([, walk]) => walk[2] === number);
      const chips = this.state[name].map((vma) => {
        const at = here.filter(([, walk]) => walk[3] === vma);
        const who = at.map(([key, walk]) => `▲ ${taskName(this.data, Number(key.slice(7)))}: ${walk[0]}`).join(", ");
        return element("span", { class: at.length ? "chip at" : "chip" }, vma, who ? element("span", { class: "who" }, who) : "");
      });
      const waiting = here.filter(([, walk]) => !this.state[name].includes(walk[3])).map(([key, walk]) => {
        const where = walk[3] ? `stands at ${walk[3]}, which is not listed any more` : "begins";
        return element("span", { class: "legend" }, `${taskName(this.data, Number(key.slice(7)))}: ${walk[0]} ${where}`);
      });
      return this.mark(name, element("div", { class: "row" }, element("span", { class: "name" }, `anon_vma ${number}`), ...chips, ...waiting));
    })];
  }

  place(process, address) {
    for (const [name, owner, start, end] of this.state.vmas || []) {
      if (owner === process && start <= address && address < end) return `${name}+${(address - start) / 4096}`;
    }
    return `0x${address.toString(16)}`;
  }

  tables(to) {
    const names = new Set([...Object.keys(this.data.first), ...this.changing].filter((name) => name.startsWith("pte:")));
    const tables = new Map();
    for (const name of names) {
      const [, process, hex] = name.split(":");
      const address = Number(hex);
      const key = `${process} ${Math.floor(address / 2097152)}`;
      if (!tables.has(key)) tables.set(key, []);
      tables.get(key).push({ name, process: Number(process), address });
    }
    const all = [...tables.values()];
    const missed = (entries) => (entries.some((entry) => entry.name === this.data.missed) ? 0 : 1);
    all.sort((a, b) => missed(a) - missed(b) || a[0].process - b[0].process || a[0].address - b[0].address);
    return all.flatMap((entries) => {
      const moving = entries.filter((entry) => this.changing.has(entry.name)).sort((a, b) => a.address - b.address);
      const still = entries.length - moving.length;
      const base = Math.floor(entries[0].address / 2097152) * 2097152;
      if (!moving.length) return [];
      const head = element("h3", {}, `Page table of 0x${base.toString(16)}, process ${entries[0].process}`);
      const rest = still ? element("p", { class: "legend" }, `${still} more present entries do not change`) : "";
      if (moving.length <= MANY) return [head, element("div", { class: "cells" }, ...moving.map((entry) => this.cell(entry, to))), rest];
      // Of many entries all as small squares, and those with something to say in full.
      const telling = moving.filter((entry) => entry.name === this.data.missed || this.changed.has(entry.name) || ["migration", "stale"].includes(this.kind(entry.name, to)));
      const counts = {};
      const squares = moving.map((entry) => {
        const kind = this.kind(entry.name, to);
        counts[kind] = (counts[kind] || 0) + 1;
        return element("span", { class: `square ${kind}`, title: `${this.place(entry.process, entry.address)}: ${kind}` });
      });
      const label = Object.entries(counts).map(([kind, n]) => `${n} ${kind}`).join(", ");
      return [head, element("p", { class: "legend" }, `${moving.length} entries that change: ${label}`),
        element("div", { class: "dense", role: "img", "aria-label": label }, ...squares),
        element("div", { class: "cells" }, ...telling.slice(0, 24).map((entry) => this.cell(entry, to))), rest];
    });
  }

  kind(name, to) {
    if (name in this.data.stale && to >= this.data.stale[name]) return "stale";
    return this.state[name] ? this.state[name][0] : "none";
  }

  cell({ name, process, address }, to) {
    const entry = this.state[name];
    const kind = this.kind(name, to);
    const words = { none: "none", present: "page ", migration: "migration, page ", huge: "huge page ", stale: "STALE, page " }[kind];
    const made = element("div", { class: `cell ${kind}${name === this.data.missed ? " missed" : ""}` },
      element("b", {}, this.place(process, address)), words + (entry ? entry[1] : ""));
    made.title = `0x${address.toString(16)}`;
    return this.mark(name, made);
  }

  pages() {
    const names = [...this.changing].filter((name) => name.startsWith("page:")).sort((a, b) => a.slice(5) - b.slice(5));
    if (!names.length) return null;
    const head = ["page", "mapcount", "count", "lock", "anon_vma", "index"];
    const rows = names.slice(0, 48).map((name) => {
      const page = this.state[name];
      const cells = page ? [page[0], page[1], page[2] ? "locked" : "", page[3] === null ? "" : page[3], page[4]] : ["", "", "", "", ""];
      return this.mark(name, element("tr", {}, element("th", { scope: "row" }, name.slice(5)), ...cells.map((text) => element("td", {}, String(text)))));
    });
    return [element("h3", {}, "Pages"), element("div", { class: "scroll", tabindex: "0", role: "group", "aria-label": "Pages" },
      element("table", {}, element("thead", {}, element("tr", {}, ...head.map((text) => element("th", { scope: "col" }, text)))), element("tbody", {}, ...rows)))];
  }

  values() {
    const names = Object.keys(this.state).filter((name) => name.startsWith("value:"));
    if (!names.length) return null;
    return [element("h3", {}, "Values"), element("div", { class: "cells" }, ...names.slice(0, 200).map((name) =>
      this.mark(name, element("div", { class: "cell" }, element("b", {}, name.slice(6)), String(this.state[name])))))];
  }
}

// ---- the whole page -------------------------------------------------------------------------------------------------

const sides = data.sides.map((side, number) => new Side(side, number));
const slider = document.getElementById("step");
const live = document.getElementById("live");
const handoffs = data.sides[0].runs.slice(1).map(([, first]) => first);
const first = data.sides[0];

function go(to) {
  step = Math.max(0, Math.min(longest, to));
  for (const side of sides) side.show(step);
  slider.value = step;
  const here = first.events.filter(([at]) => at === step).map(([, task, text]) => `${taskName(first, task)}: ${text}`);
  const what = step === 0 ? "before the first step" : here.join("; ") || (step > first.end ? "has ended" : "");
  document.getElementById("position").textContent = `step ${step} of ${longest}`;
  slider.setAttribute("aria-valuetext", `step ${step}: ${what}`);
  live.textContent = violation === step && first.kind ? `${what}${what ? ". " : ""}Violation: ${first.kind}` : what;
}

const moves = {
  first: () => go(0),
  last: () => go(longest),
  back: () => go(step - 1),
  forward: () => go(step + 1),
  handoff: () => go(handoffs.find((at) => at > step) ?? longest),
  "handoff-back": () => go(handoffs.filter((at) => at < step).pop() ?? 0),
  differs: () => data.differs !== null && go(data.differs),
  violation: () => go(violation ?? longest),
  miss: () => first.miss !== null && go(first.miss),
};
const keys = { ArrowLeft: "back", ArrowRight: "forward", n: "handoff", p: "handoff-back", d: "differs", m: "miss", v: "violation", Home: "first", End: "last" };

document.getElementById("title").textContent = `${data.scenario} under ${first.algorithm}: ${first.kind || "no violation"}`;
document.getElementById("parameters").textContent = `${data.parameters ? `${data.parameters}; ` : ""}${first.end} steps, ${handoffs.length} hand-offs` +
  (data.sides.length > 1 ? `; beside it the same schedule under ${data.sides[1].algorithm}` + (data.differs === null ? ", which does the same" : `, which differs from step ${data.differs} on`) : "") +
  (first.every > 1 ? `; the state is known at one step in ${first.every}` : "") + `; anonvma_rt ${data.version}`;
document.getElementById("why").textContent = first.why;
if (sides.length > 1) main.classList.add("two");
slider.max = longest;
slider.addEventListener("input", () => go(Number(slider.value)));
for (const button of document.querySelectorAll("[data-go]")) button.addEventListener("click", () => moves[button.dataset.go]());
document.querySelector("[data-go=differs]").hidden = data.differs === null;
document.querySelector("[data-go=miss]").hidden = first.miss === null;
document.querySelector("[data-go=violation]").hidden = !first.kind;
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || !(event.key in keys)) return;
  event.preventDefault();
  moves[keys[event.key]]();
});
function draw() {
  for (const side of sides) side.timeline();
  go(step);
}
let width = 0;
new ResizeObserver(() => {
  if (main.clientWidth !== width) {
    width = main.clientWidth;
    draw();
  }
}).observe(main);
width = main.clientWidth;
draw();
if (first.kind) go(first.miss ?? violation ?? longest);
