// Tables in pages: the browser has few rows at a time, however many there are.

const PAGE = innerWidth < 760 ? 20 : 50;

// `columns`: {name, title, cell(row), value(row), number, double}; a column with `value` can be sorted by. `more(row)`
// gives what opens below a row. Returns {show(rows), sort(name, descending), open(row)}.
function listing(place, { columns, more, sorted, empty, noun }) {
  let rows = [];
  let page = 0;
  let by = sorted;
  let opened = null;
  const head = make("tr");
  const body = make("tbody");
  const position = make("span", { "aria-live": "polite" });
  const back = button("Previous", () => turn(page - 1));
  const on = button("Next", () => turn(page + 1));
  const pager = make("div", { class: "pager" }, position, back, on);
  const nothing = make("p", { class: "empty", hidden: true }, empty);
  place.replaceChildren(
    make("div", { class: "scroll" }, make("table", {}, make("thead", {}, head), body)), nothing, pager);

  function turn(to) {
    page = to;
    draw();
    place.scrollIntoView({ block: "nearest" });
  }

  function heading(column) {
    const properties = { scope: "col", class: column.number ? "number" : undefined };
    if (!column.value) return make("th", properties, column.title);
    if (by.name === column.name) properties["aria-sort"] = by.descending ? "descending" : "ascending";
    const flip = () => sort(column.name, by.name === column.name ? !by.descending : Boolean(column.number));
    return make("th", properties, button(column.title, flip, { class: "plain", "data-sort": column.name }));
  }

  function line(row) {
    const cells = columns.map((column, index) => {
      const content = column.cell(row);
      const kind = [column.number && "number", column.double && "double", content === "" && "none"].filter(Boolean).join(" ");
      return make("td", { class: kind || undefined, "data-label": index ? column.title : undefined }, content);
    });
    const element = make("tr", { class: "row" }, cells);
    if (!more) return [element];
    const toggle = cells[0].querySelector("button");
    toggle.setAttribute("aria-expanded", row === opened);
    toggle.addEventListener("click", () => {
      opened = row === opened ? null : row;
      draw();
      body.querySelector(`[data-row="${row}"] button`)?.focus();
    });
    element.dataset.row = row;
    return row === opened ? [element, make("tr", { class: "more" }, make("td", { colspan: columns.length }, more(row)))] : [element];
  }

  function draw() {
    const pages = Math.max(1, Math.ceil(rows.length / PAGE));
    page = Math.max(0, Math.min(page, pages - 1));
    const shown = rows.slice(page * PAGE, (page + 1) * PAGE);
    const focus = document.activeElement?.dataset.sort;
    head.replaceChildren(...columns.map(heading));
    if (focus) head.querySelector(`[data-sort="${focus}"]`)?.focus();
    body.replaceChildren(...shown.flatMap(line));
    position.textContent = rows.length > PAGE
      ? `${count(page * PAGE + 1)} to ${count(page * PAGE + shown.length)} of ${plural(rows.length, noun)}`
      : plural(rows.length, noun);
    back.hidden = on.hidden = pages === 1;
    back.disabled = page === 0;
    on.disabled = page === pages - 1;
    nothing.hidden = rows.length > 0;
    nothing.textContent = empty;
  }

  function order() {
    const { value } = columns.find((column) => column.name === by.name);
    const keys = new Map(rows.map((row) => [row, value(row)]));
    const compare = (a, b) => (a < b ? -1 : a > b ? 1 : 0);
    rows.sort((a, b) => (by.descending ? compare(keys.get(b), keys.get(a)) : compare(keys.get(a), keys.get(b))) || a - b);
  }

  function sort(name, descending) {
    by = { name, descending };
    page = 0;
    order();
    draw();
  }

  function show(found) {
    rows = found.slice();
    page = 0;
    order();
    draw();
  }

  function open(row) {
    opened = row;
    page = Math.floor(rows.indexOf(row) / PAGE);
    draw();
    const element = body.querySelector(`[data-row="${row}"]`);
    element?.scrollIntoView({ block: "center" });
    element?.querySelector("button").focus({ preventScroll: true });
  }

  return { show, sort, open };
}

// A search field: `texts(row)` is what is searched in; each word has to be there, in any case of letters.
function search(label, all, texts, onchange) {
  let lowered = null;
  const field = make("input", { type: "search", placeholder: label, "aria-label": label, autocomplete: "off", spellcheck: "false" });
  field.addEventListener("input", () => onchange());
  const keep = () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    if (!words.length) return () => true;
    lowered ??= all.map((row) => texts(row).toLowerCase());
    return (row) => words.every((word) => lowered[row].includes(word));
  };
  return { field, keep };
}
