"use strict";
// Sorting: a column's button sorts its table; what has no value stays last.
function sortBy(button) {
  const head = button.closest("th"), table = head.closest("table");
  const column = [...head.parentNode.children].indexOf(head);
  const numeric = head.classList.contains("n"), before = head.getAttribute("aria-sort");
  const descending = before === "none" ? numeric : before === "ascending";
  for (const other of head.parentNode.querySelectorAll("[aria-sort]")) other.setAttribute("aria-sort", "none");
  head.setAttribute("aria-sort", descending ? "descending" : "ascending");
  const value = (row) => row.children[column].dataset.v;
  const compare = (a, b) => (numeric ? Number(a) - Number(b) : a.localeCompare(b, "en", { numeric: true }));
  const body = table.tBodies[0];
  const rows = [...body.rows].sort((x, y) => {
    const a = value(x), b = value(y);
    if (a === "" || b === "") return (a === "") - (b === "");
    return descending ? compare(b, a) : compare(a, b);
  });
  body.append(...rows);
  document.getElementById("said").textContent =
    `Sorted by ${button.textContent}, ${descending ? "descending" : "ascending"}.`;
}
for (const button of document.querySelectorAll("thead button")) button.addEventListener("click", () => sortBy(button));

// Enlarging: a copy of the picture in a dialog. Escape, the button, and a click beside it close it.
const dialog = document.querySelector("dialog");
function enlarge(figure) {
  dialog.querySelector("h2").textContent = figure.querySelector("figcaption strong").textContent;
  dialog.querySelector(".place").replaceChildren(figure.querySelector("picture").cloneNode(true));
  dialog.showModal();
}
for (const figure of document.querySelectorAll("figure")) {
  figure.querySelector(".enlarge").addEventListener("click", () => enlarge(figure));
  figure.querySelector("picture").addEventListener("click", () => enlarge(figure));
}
if (dialog) {
  dialog.querySelector(".close").addEventListener("click", () => dialog.close());
  dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
}
