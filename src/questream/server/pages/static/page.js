// Keys for the list, and nothing that the page cannot do without.
"use strict";

const rows = () => [...document.querySelectorAll("[data-row]")];
let at = -1;

function go(step) {
  const all = rows();
  if (!all.length) return;
  at = Math.min(Math.max(at + step, 0), all.length - 1);
  all.forEach((row, index) => row.classList.toggle("here", index === at));
  all[at].querySelector("a").focus();
}

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const typing = event.target.closest("input:not([type=checkbox]), textarea, select");
  if (typing) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  const search = document.getElementById("q");
  if (event.key === "/" && search) search.focus();
  else if (event.key === "j") go(1);
  else if (event.key === "k") go(-1);
  else return;
  event.preventDefault();
});

document.addEventListener("focusin", (event) => {
  const row = event.target.closest("[data-row]");
  if (row) at = rows().indexOf(row);
});
