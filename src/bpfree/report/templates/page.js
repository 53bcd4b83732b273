// Tables that are sorted and whose columns are chosen, and texts that are copied. The page is whole without it.
(() => {
"use strict";
const all = (selector, inside = document) => [...inside.querySelectorAll(selector)];

/** The value by which a cell is sorted; a cell without one comes last. */
function value(cell) {
  const { sort } = cell.dataset;
  if (sort === undefined) return cell.textContent.trim().toLowerCase();
  return sort === "" ? NaN : Number(sort);
}

function compare(a, b) {
  if (Number.isNaN(a) || Number.isNaN(b)) return Number.isNaN(a) - Number.isNaN(b);
  return typeof a === "number" ? a - b : a.localeCompare(b);
}

function sortable(table) {
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, k) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    button.title = "Sort by this column";
    head.append(button);
    button.addEventListener("click", () => {
      const next = { ascending: "descending", descending: "none" }[head.getAttribute("aria-sort")] || "ascending";
      heads.forEach((each) => each.removeAttribute("aria-sort"));
      if (next !== "none") head.setAttribute("aria-sort", next);
      const sign = next === "descending" ? -1 : 1;
      const order = next === "none" ? rows : [...rows].sort((a, b) => {
        const [one, other] = [value(a.cells[k]), value(b.cells[k])];
        const missing = Number.isNaN(one) || Number.isNaN(other);
        return (missing ? 1 : sign) * compare(one, other);
      });
      body.append(...order);
    });
  });
}

/** Boxes that show and hide the columns of a table. */
function choosable(chooser) {
  const table = document.getElementById(chooser.dataset.table);
  all("input", chooser).forEach((box) => box.addEventListener("change", () => {
    all("[data-column]", table).forEach((cell) => {
      if (cell.dataset.column === box.value) cell.hidden = !box.checked;
    });
  }));
  chooser.hidden = false;
}

/** Copy the text of an element; where the browser refuses, select it. */
async function copy(button) {
  const text = document.getElementById(button.dataset.copy);
  try {
    await navigator.clipboard.writeText(text.textContent);
    button.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(text);
    button.textContent = "Selected: press Ctrl+C";
  }
  setTimeout(() => { button.textContent = "Copy"; }, 2500);
}

all("table.sortable").forEach(sortable);
all(".columns").forEach(choosable);
all("button[data-copy]").forEach((button) => {
  button.hidden = false;
  button.addEventListener("click", () => copy(button));
});
})();
