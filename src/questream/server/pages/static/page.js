// Keys for the list, the count of what is selected, and decisions as they come.
"use strict";

document.documentElement.classList.add("scripted");
const rows = () => [...document.querySelectorAll("[data-row]")].filter((row) => row.checkVisibility());
let at = -1;

function go(step) {
  const all = rows();
  if (!all.length) return;
  at = Math.min(Math.max(at + step, 0), all.length - 1);
  all.forEach((row, index) => row.classList.toggle("here", index === at));
  all[at].querySelector("a").focus();
}

function showCount() {
  const chosen = document.querySelectorAll("#chosen input[type=checkbox]:checked").length;
  const bar = document.querySelector(".bar-below");
  if (!bar) return;
  bar.classList.toggle("some", chosen > 0);
  document.getElementById("count").textContent = `${chosen} selected`;
}

const KEYS = {
  "/": () => document.getElementById("q")?.focus(),
  j: () => go(1),
  k: () => go(-1),
  x: () => rows()[at]?.querySelector("input[type=checkbox]")?.click(),
  l: () => press("label"),
  r: () => press("route"),
  m: () => press("merge"),
  u: () => document.getElementById("undo")?.click(),
  p: () => document.getElementById("pause")?.click(),
};

function press(op) {
  document.querySelector(`.bar-below.some [value=${op}]`)?.click();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.target.closest("input:not([type=checkbox], [type=radio]), textarea, select")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const act = KEYS[event.key];
  if (!act) return;
  event.preventDefault();
  act();
});

document.addEventListener("focusin", (event) => {
  const row = event.target.closest("[data-row]");
  if (row) at = rows().indexOf(row);
});
document.addEventListener("change", (event) => {
  showCount();
  // What was typed is searched for in the other way at once.
  if (event.target.name === "sort" && document.getElementById("q").value) event.target.form.requestSubmit();
});
// On a narrow screen the views are a row that scrolls: the one that is shown is in sight.
document.querySelector(".side nav [aria-current=page]")?.scrollIntoView({ inline: "center", block: "nearest" });
// A browser that goes back shows the boxes as they were.
window.addEventListener("pageshow", showCount);

const feed = document.getElementById("feed");
if (feed) {
  const MOST = 200;
  const state = document.getElementById("state");
  const pause = document.getElementById("pause");
  let paused = false;
  let waiting = [];
  let skipped = 0;

  const element = (name, text, className = "") => {
    const made = document.createElement(name);
    made.textContent = text;
    made.className = className;
    return made;
  };

  function lineOf(decision) {
    const line = element("li", "", "fresh");
    line.append(element("time", String(decision.decided_at).slice(11, 19)));
    const text = element("bdi", decision.text ?? decision.question_id ?? "");
    line.append(text);
    line.append(element("span", decision.similarity == null ? "" : decision.similarity.toFixed(3), "score"));
    const goes = element("div", "", "goes");
    const outcome = String(decision.outcome);
    goes.append(element("span", outcome, outcome === "created" ? "tag good" : "tag"));
    if (decision.cluster_id) {
      const link = element("a", decision.label ?? decision.cluster_id);
      link.href = feed.dataset.clusters + encodeURIComponent(decision.cluster_id);
      goes.append(link);
      if (decision.label) goes.append(element("span", decision.cluster_id, "id"));
    }
    if (decision.route) goes.append(element("span", decision.route, "tag route"));
    if (decision.suggested_route) goes.append(element("span", `suggested: ${decision.suggested_route}`, "tag"));
    if (decision.confidence != null) {
      goes.append(element("span", `${Math.round(100 * decision.confidence)} % sure`, "hint"));
    }
    line.append(goes);
    return line;
  }

  function show() {
    if (paused || !waiting.length) return;
    feed.hidden = false;
    document.getElementById("none").hidden = true;
    for (const decision of waiting) feed.prepend(lineOf(decision));
    waiting = [];
    while (feed.children.length > MOST) feed.lastChild.remove();
  }

  function showStatus(words, kind) {
    state.textContent = words;
    state.className = `tag ${kind}`;
  }

  const source = new EventSource(feed.dataset.source);
  source.onopen = () => showStatus(paused ? "paused" : "live", paused ? "warn" : "good");
  source.onerror = () => showStatus("connecting", "warn");
  source.addEventListener("decision", (event) => {
    waiting.push(JSON.parse(event.data));
    waiting = waiting.slice(-MOST);
    if (paused) showStatus(`paused, ${waiting.length} waiting`, "warn");
    show();
  });
  source.addEventListener("skipped", (event) => {
    skipped += JSON.parse(event.data).count;
    const note = document.getElementById("skipped");
    note.hidden = false;
    note.textContent = `More came than anybody reads: ${skipped} decisions were left out here.`;
  });
  pause.addEventListener("click", () => {
    paused = !paused;
    pause.firstChild.textContent = paused ? "Go on" : "Pause";
    pause.setAttribute("aria-pressed", String(paused));
    showStatus(paused ? "paused" : "live", paused ? "warn" : "good");
    show();
  });
}
