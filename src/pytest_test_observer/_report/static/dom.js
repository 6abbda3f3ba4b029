// Elements are made of text nodes and set properties, never of markup: whatever a node id or an error says stays text.

const byId = (id) => document.getElementById(id);

function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "style") for (const [key, text] of Object.entries(value)) element.style.setProperty(key, text);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}

const button = (label, onclick, properties = {}) => make("button", { type: "button", onclick, ...properties }, label);

function choice(label, options, onchange) {
  const select = make("select", { "aria-label": label, onchange: () => onchange(select.value) },
    options.map(([value, words]) => make("option", { value }, words)));
  return select;
}

const sign = (status, words) => make("span", { class: `sign ${status}`, "data-sign": SIGNS[status] }, words ?? status);

const verdict = (outcome) => sign(STATUS_OF[outcome] ?? "broken", WORDS[outcome] ?? outcome);

// Nothing but a web address becomes a link.
function link(address, words) {
  if (!/^https?:\/\//i.test(address)) return null;
  return make("a", { href: address, target: "_blank", rel: "noopener noreferrer" }, words);
}

const traceLink = (trace) =>
  trace && about.trace_url ? link(about.trace_url.replaceAll("{trace_id}", encodeURIComponent(trace)), "Trace") : null;

function facts(pairs) {
  const shown = pairs.filter(([, value]) => value !== "" && value !== null && value !== undefined);
  return make("dl", { class: "facts" },
    shown.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));
}

// A long name may be broken where its parts meet.
const breakable = (words) => words.split(/(?<=::|\/)/).flatMap((part, index) => (index ? [make("wbr"), part] : [part]));

// Of such a name some lines are shown; it is whole below its row.
const isLong = (nodeid) => nodeid.length > 300;

// "tests/test_a.py::TestB::test_c[1]": the place is quiet, the test is not.
function testName(nodeid, properties = {}) {
  const cut = nodeid.indexOf("::");
  const where = cut < 0 ? "" : nodeid.slice(0, cut + 2);
  return make("span", { class: isLong(nodeid) ? "name long" : "name", ...properties },
    where && make("span", { class: "where" }, breakable(where)), make("wbr"),
    make("span", { class: "what" }, breakable(cut < 0 ? nodeid : nodeid.slice(cut + 2))));
}

// A test among those of the page leads to its row.
const testLink = (test) => button(testName(tests.nodeid[test]), () => showTest(test), { class: "plain" });

function strip(history) {
  const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const words = STATUSES.map((status) => [status, [...history].filter((letter) => LETTERS[letter] === status).length]);
  const label = words.filter(([, times]) => times).map(([status, times]) => `${times} ${status}`).join(", ");
  const set = (element, attributes) => {
    for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
    return element;
  };
  set(svg, { class: "strip", viewBox: "0 0 120 18", role: "img", "aria-label": `Last runs: ${label}` });
  const from = 30 - history.length;
  [...history].forEach((letter, place) => {
    // what did not pass is higher as well
    const height = { p: 9, s: 5, y: 14 }[letter] ?? 18;
    const rect = document.createElementNS("http://www.w3.org/2000/svg", "rect");
    svg.append(set(rect, { class: LETTERS[letter], x: (from + place) * 4, y: 18 - height, width: 3, height, rx: 0.8 }));
  });
  return svg;
}
