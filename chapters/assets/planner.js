// The calculator and the explorer: they read their form, compute with planning.js and fill their tables.
{
  // Text -----------------------------------------------------------------------------------------

  const whole = new Intl.NumberFormat("en", {maximumFractionDigits: 0});
  const raised = exponent => [...exponent].map(digit => "⁰¹²³⁴⁵⁶⁷⁸⁹"[digit]).join("");

  // Three digits or so; a power of ten from a billion up.
  const show = x => {
    if (x === 0) return "0";
    if (x < 0.001) return "< 0.001";
    if (x < 100) return x.toPrecision(x < 1 ? 2 : 3);
    if (x < 1e9) return whole.format(x);
    const [digits, exponent] = x.toExponential(1).split("e+");
    return `${digits} × 10${raised(exponent)}`;
  };

  const showCount = x => {
    const [size, word] = [[1e12, " trillion"], [1e9, " billion"], [1e6, " million"]].find(([size]) => x >= size) ?? [1, ""];
    return size === 1 ? whole.format(x) : show(x / size) + word;
  };

  const showDollars = x => x > 0 && x < 0.01 ? "less than $0.01" : `$${x < 100 ? x.toFixed(2) : show(x)}`;
  const showShare = x => `${show(100 * x)}\u00a0%`;
  const showTyped = x => new Intl.NumberFormat("en", {maximumFractionDigits: 6}).format(x);
  const plural = (count, word) => `${show(count)} ${word}${count === 1 ? "" : "s"}`;

  // The number that somebody typed, or null. Commas stand between thousands only: "2,5" may mean 2.5.
  const numberOf = text => {
    const typed = text.trim();
    if (!/^[+-]?(\d{1,3}(,\d{3})+|\d+|(?=\.\d))(\.\d*)?(e[+-]?\d+)?$/i.test(typed)) return null;
    return Number(typed.replaceAll(",", ""));
  };

  const shortened = text => text.length > 40 ? `${text.slice(0, 40)}…` : text;

  // Elements -------------------------------------------------------------------------------------

  // A screen reader reads a sentence again when it is set again, so set it only if it changes.
  const say = (node, text) => {
    if (node.textContent !== text) node.textContent = text;
  };

  const make = (tag, attributes, ...children) => {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children);
    return made;
  };

  const place = (form, name) => form.querySelector(`[data-fill="${name}"]`);

  // A row of a table: its head, then cells with the class of their column.
  const makeRow = (table, [head, ...cells]) => {
    const columns = [...table.tHead.rows[0].cells];
    return make("tr", {}, make("th", {scope: "row"}, head),
      ...cells.map((cell, i) => make("td", {class: columns[i + 1].className}, cell)));
  };

  const fillTable = (table, rows) => table.tBodies[0].replaceChildren(...rows.map(row => makeRow(table, row)));

  const mark = (row, current) => current ? row.setAttribute("aria-current", "true") : row.removeAttribute("aria-current");

  // Fields and their values, as text: typed in the form or written in the address ------------------

  const isTick = field => field.type === "checkbox";
  const isChoice = field => field.tagName === "SELECT";
  const textOf = field => isTick(field) ? (field.checked ? "yes" : "no") : field.value;

  const defaultOf = field => {
    if (isTick(field)) return field.defaultChecked ? "yes" : "no";
    return isChoice(field) ? [...field.options].find(option => option.defaultSelected).value : field.defaultValue;
  };

  const setField = (field, text) => {
    if (isTick(field)) field.checked = text === "yes";
    else field.value = text;
  };

  const valueOf = (field, text) => {
    if (isTick(field)) return text === "yes";
    if (isChoice(field)) return field.dataset.kind === "number" ? Number(text) : text;
    return numberOf(text);
  };

  // What to write instead of `text`, or "" if it will do.
  const mustBe = (field, text, rules) => {
    if (isTick(field)) return ["yes", "no"].includes(text) ? "" : "yes or no";
    if (isChoice(field)) {
      const values = [...field.options].map(option => option.value);
      return values.includes(text) ? "" : `one of ${values.join(", ")}`;
    }
    const number = numberOf(text), {must, holds} = rules[field.name];
    return number !== null && holds(number) ? "" : must.replace(/^from/, "a number from");
  };

  // Forms ----------------------------------------------------------------------------------------

  // For the fields that the Python leaves open, or almost: no number needs to be larger, no share smaller.
  const count = {must: "from 0 to 1e9", holds: x => x >= 0 && x <= 1e9};
  const size = {must: "a number above 0, up to 1e9", holds: x => x > 0 && x <= 1e9};
  const share = {must: "a share from 0.0001 to 1", holds: x => x >= 1e-4 && x <= 1};
  const OWN_RULES = {
    items: count, minutes: count, judgements: count, wage: count,
    examples: size, parameters: size, memory: size,
    reached: share, reached_sampling: share,
  };

  // Run a form. parts: name of a part of the answer -> {needs: the parts whose fields it reads, fill:
  // what fills it, from the settings}; refuse: (field, text) -> a better sentence for the address, or "".
  const run = (form, planning, parts, {refuse = () => "", prepare = () => {}} = {}) => {
    const rules = {...planning.rules, ...OWN_RULES};
    const fields = [...form.elements].filter(element => element.name);
    const partOf = field => field.closest("[data-part]").dataset.part;
    const isShown = field => !field.closest("[hidden]");

    const blame = (field, sentence) => {
      if (sentence) field.setAttribute("aria-invalid", "true");
      else field.removeAttribute("aria-invalid");
      const error = document.getElementById(`${field.id}-error`);
      if (error) say(error, sentence);
    };

    // What the fields say, and the parts that have a wrong one. A field that is not asked for is not read.
    const read = () => {
      const settings = {}, broken = new Set();
      for (const field of fields) {
        const text = isShown(field) ? textOf(field) : defaultOf(field);
        const must = mustBe(field, text, rules);
        settings[field.name] = valueOf(field, text);
        blame(field, must && `Write ${must}${text.trim() ? `, not “${shortened(text)}”` : ": the field is empty"}.`);
        if (must) broken.add(partOf(field));
      }
      return {settings, broken};
    };

    const fillPart = (name, settings, broken) => {
      if (parts[name].needs.some(part => broken.has(part))) return false;
      try {
        parts[name].fill(settings);
        return true;
      } catch (error) {
        if (!(error instanceof planning.Refusal)) throw error;
        const field = fields.find(each => each.name === error.field);
        blame(field, `${error.message}. ${error.advice}`.trim());
        broken.add(partOf(field));
        return false;
      }
    };

    // Returns whether everything could be answered. An answer that no longer holds keeps its place, unseen.
    const update = () => {
      prepare();
      const {settings, broken} = read();
      for (const name of Object.keys(parts)) {
        const filled = fillPart(name, settings, broken);
        for (const answer of form.querySelectorAll(`[data-answer="${name}"]`)) {
          if (filled) answer.hidden = false;
          answer.classList.toggle("planner-stale", !filled);
        }
      }
      return !broken.size;
    };

    // The address of this case: what differs from the defaults.
    const address = () => {
      const changed = fields.filter(field => isShown(field) && textOf(field).trim() !== defaultOf(field));
      const query = new URLSearchParams(changed.map(field => [field.name, textOf(field).trim()]));
      return changed.length ? `#${form.id}?${query}` : `#${form.id}`;
    };

    const writeAddress = () => {
      try {
        history.replaceState(history.state, "", address());
      } catch {
        // Safari allows a hundred changes in half a minute; the next one will do.
      }
    };

    // Set the fields as the address says. Returns whether it is about this form.
    const readAddress = () => {
      const [, name, query] = location.hash.match(/^#([^?]*)\?(.*)$/s) ?? [];
      if (name !== form.id) return false;
      const ignored = [], seen = new Set();
      fields.forEach(field => setField(field, defaultOf(field)));
      for (const [key, text] of new URLSearchParams(query)) {
        const field = fields.find(each => each.name === key);
        const wrong = addressFault(field, key, text, seen);
        seen.add(key);
        if (wrong) ignored.push(`${shortened(key)}=${shortened(text)} (${wrong})`);
        else setField(field, text);
      }
      say(place(form, "ignored"), ignored.length
        ? `Not taken from the address, so the defaults hold instead: ${ignored.join("; ")}.` : "");
      return true;
    };

    const addressFault = (field, key, text, seen) => {
      if (!field) return "there is no such setting";
      if (seen.has(key)) return "it is there twice";
      const must = mustBe(field, text, rules);
      return must && (refuse(field, text) || `it must be ${must}`);
    };

    const copy = async () => {
      const copied = place(form, "copied");
      if (!update()) {
        say(copied, "Nothing is copied: first correct what is marked above.");
        return;
      }
      const link = location.href.split("#")[0] + address();
      try {
        await navigator.clipboard.writeText(link);
        say(copied, "The link is copied.");
      } catch {  // no permission, or a page that is not served securely
        const box = make("input", {type: "text", readonly: "", value: link});
        copied.replaceChildren(make("label", {}, "Copy this link: ", box));
        box.select();
      }
    };

    const changed = () => {
      say(place(form, "ignored"), "");
      say(place(form, "copied"), "");
      if (update()) writeAddress();
    };

    form.reset();  // a browser may remember what was typed before
    form.addEventListener("submit", event => event.preventDefault());
    form.addEventListener("input", event => {
      if (event.target.name) changed();
    });
    form.addEventListener("reset", () => setTimeout(changed));  // the fields are set after this event
    form.querySelector("[data-do=copy]").addEventListener("click", copy);
    const start = () => {
      const meant = readAddress();
      update();
      if (meant) form.scrollIntoView();
    };
    window.addEventListener("hashchange", () => location.hash.startsWith(`#${form.id}?`) && start());
    start();
    return {fields, changed};
  };

  // Calculator -----------------------------------------------------------------------------------

  const startCalculator = form => {
    const {data, ways, links} = JSON.parse(form.querySelector("script").textContent);
    const planning = window.planning(data);
    const cards = Object.keys(data.CARDS).sort((a, b) => data.CARDS[a].memory - data.CARDS[b].memory);
    const field = name => form.elements.namedItem(name);
    const cardName = card => `${card} (${data.CARDS[card].memory} GiB)`;
    const trainingOf = ({model, ...settings}) => {
      const names = Object.keys(data.training);
      const known = Object.fromEntries(Object.entries(settings).filter(([name]) => names.includes(name)));
      return planning.training({...known, shape: planning.named(model)});
    };

    const wayTable = place(form, "ways");
    const buttons = ways.map(({name, trains}) => {
      const button = make("button", {type: "button"}, name);
      button.addEventListener("click", () => {
        field("trains").value = trains;
        changed();
      });
      return button;
    });
    fillTable(wayTable, buttons.map(button => [button, "", "", "", ""]));  // once: a button keeps the focus

    const fillWays = training => ways.forEach(({trains}, i) => {
      const way = planning.training({...training, trains});
      const smallest = cards.find(card => planning.fits(way, card));
      const texts = [showCount(planning.trainable(way)), show(planning.peak(way).total / data.GB),
        show(planning.toPlan(way) / data.GIB), smallest ? cardName(smallest) : "none"];
      const row = wayTable.tBodies[0].rows[i];
      texts.forEach((text, column) => say(row.cells[column + 1], text));
      mark(row, trains === training.trains);
      buttons[i].setAttribute("aria-pressed", trains === training.trains);
    });

    const fillSummary = (training, peak, smallest) => {
      const count = planning.trainable(training);
      const all = planning.trainable({...training, trains: data.names.ALL});
      const largest = Object.entries(peak.parts).reduce((most, part) => part[1] > most[1] ? part : most);
      const help = training.devices > 1 && training.stage < 3 ? "divide more of it among the devices (ZeRO)"
        : training.devices > 1 ? "take more devices, or train less" : "divide it among devices, or train less";
      const holds = smallest ? `the smallest card for that is the ${cardName(smallest)}.`
        : `no card of the list holds that: ${help}.`;
      say(place(form, "memory"),
        `${training.method} of ${training.shape.name}, ${training.trains}: ${showCount(count)} parameters train, ${showShare(count / all)}. `
        + `The peak on ${training.devices > 1 ? "each" : "the"} device is ${show(peak.total / data.GB)} GB (${show(peak.total / data.GIB)} GiB), `
        + `at the moment “${peak.name}”; its largest part: ${largest[0]}, ${show(largest[1] / data.GB)} GB. `
        + `With a quarter in reserve, plan for ${show(planning.toPlan(training) / data.GIB)} GiB: ${holds}`);
    };

    const partClass = part => `part-${part.replace(/\W+/g, "-")}`;

    const fillBar = peak => {
      const svg = document.createElementNS("http://www.w3.org/2000/svg", "svg");
      let left = 0;
      for (const [part, bytes] of Object.entries(peak.parts)) {
        const rect = document.createElementNS(svg.namespaceURI, "rect");
        const attributes = {x: `${100 * left / peak.total}%`, width: `${100 * bytes / peak.total}%`, height: "100%", class: partClass(part)};
        for (const [name, value] of Object.entries(attributes)) rect.setAttribute(name, value);
        svg.append(rect);
        left += bytes;
      }
      svg.setAttribute("role", "img");
      svg.setAttribute("aria-label", `The peak, part by part: ${Object.entries(peak.parts).map(
        ([part, bytes]) => `${part} ${show(bytes / data.GB)} GB`).join(", ")}`);
      place(form, "bar").replaceChildren(svg);
    };

    const moreAbout = part => {
      const [explained, measured] = links[part] ?? ["", ""];
      const more = document.createElement("span");
      for (const [address, text] of [[explained, "formula"], [measured, "measured"]])
        if (address) more.append(more.childNodes.length ? " · " : "",
          make("a", {href: address}, text, make("span", {class: "visually-hidden"}, `: ${part}`)));
      return more;
    };

    const fillParts = peak => fillTable(place(form, "parts"), Object.entries(peak.parts).map(([part, bytes]) => [
      make("span", {}, make("span", {class: `planner-swatch ${partClass(part)}`, "aria-hidden": "true"}), part),
      show(bytes / data.GB), showShare(bytes / peak.total), moreAbout(part)]));

    const fillMoments = (training, peak) => {
      const table = place(form, "moments"), moments = planning.moments(training);
      fillTable(table, moments.map(({name, total}) =>
        [name === peak.name ? `${name}: the peak` : name, show(total / data.GB), show(total / data.GIB)]));
      moments.forEach(({name}, i) => mark(table.tBodies[0].rows[i], name === peak.name));
    };

    const fillCards = training => {
      const told = [["Fits on", true], ["Too small", false]].map(([text, fits]) => {
        const those = cards.filter(card => planning.fits(training, card) === fits);
        return those.length ? `${text}: ${those.map(cardName).join(", ")}.` : "";
      });
      say(place(form, "cards"), told.filter(Boolean).join(" "));
    };

    const fillMemory = settings => {
      const training = trainingOf(settings), peak = planning.peak(training);
      fillWays(training);
      fillSummary(training, peak, cards.find(card => planning.fits(training, card)));
      fillBar(peak);
      fillParts(peak);
      fillMoments(training, peak);
      fillCards(training);
    };

    const fillCost = settings => {
      const training = trainingOf(settings), {card, price} = settings;
      const {tokens, passes, reached, reached_sampling} = settings;
      const job = planning.job({training, tokens, passes, card, reached, reached_sampling, price});
      const hours = planning.hours(job), flops = planning.flops(job);
      const all = Object.values(hours).reduce((sum, each) => sum + each, 0);
      const warning = planning.fits(training, card) ? "" : ` But the peak does not fit the ${card}: take another card, or other settings.`;
      say(place(form, "cost"),
        `${plural(all, "hour")} on ${whole.format(training.devices)} × ${card}, ${showDollars(planning.dollars(job))}.${warning}`);
      fillTable(place(form, "hours"), Object.keys(hours).filter(name => flops[name]).map(name =>
        [name, show(flops[name]), show(hours[name]), showDollars(hours[name] * training.devices * price)]));
    };

    const fillLabels = ({items, minutes, judgements, wage}) => {
      const hours = planning.labelHours(items, minutes, judgements);
      say(place(form, "labels"), `${plural(hours, "hour")} of work, ${showDollars(hours * wage)} in wages.`);
    };

    const showAskedFor = () => {
      const {samples} = data.METHODS[field("method").value];
      for (const wrapper of form.querySelectorAll("[data-only=samples]")) wrapper.hidden = !samples;
    };

    const nearestModels = ({name}, text) => {
      if (name !== "model") return "";
      try {
        planning.named(text);
        return "";
      } catch (error) {
        return error.message;
      }
    };

    const parts = {
      memory: {needs: ["memory"], fill: fillMemory},
      cost: {needs: ["memory", "cost"], fill: fillCost},
      labels: {needs: ["labels"], fill: fillLabels},
    };
    const {changed} = run(form, planning, parts, {refuse: nearestModels, prepare: showAskedFor});
  };

  // Explorer -------------------------------------------------------------------------------------

  const startExplorer = form => {
    const {data} = JSON.parse(form.querySelector("script").textContent);
    const planning = window.planning(data);
    const rows = [...place(form, "table").tBodies[0].rows];

    const fillRow = row => {
      const number = data.TABLE.indexOf(row), here = rows[number];
      rows.forEach((each, i) => mark(each, i === number));
      place(form, "reason").replaceChildren(...[...here.querySelector("small").childNodes].map(node => node.cloneNode(true)));
      say(place(form, "row"), `row ${number + 1} of ${rows.length}: ${here.querySelector("th").textContent}`);
    };

    // Where the facts are at odds, or the memory is too small, and what to do about it.
    const notesOn = (situation, decision) => {
      const {facts, examples, parameters, memory} = situation, {ALL, QUANTISED} = data.names;
      const prompt = facts.includes(data.PROMPT), change = facts.includes(data.CHANGE);
      const signals = facts.some(fact => data.SIGNALS.includes(fact));
      const base = `a base of ${showTyped(parameters)} billion parameters`;
      const need = name => `${show(planning.needed(name, parameters))} GiB`;
      const notes = [];
      if (prompt && change)
        notes.push("A prompt does not know facts that change: if these are looked up for it, untick the prompt, and the table says retrieval.");
      if (prompt && signals)
        notes.push("If a good prompt does it, nothing has to be trained, whatever else you have: untick it if it falls short.");
      if (!prompt && change && signals)
        notes.push("Facts that change are looked up, whatever signals you have: untick them to see what to train for the rest.");
      if (decision.parameters === "a smaller base")
        notes.push(`Nothing fits: ${QUANTISED} needs ${need(QUANTISED)} for ${base}, and you have ${showTyped(memory)} GiB. Take a smaller base, or more memory.`);
      else if (decision.parameters && decision.parameters !== ALL && examples >= data.FOR_ALL_PARAMETERS)
        notes.push(`With so many examples all parameters are worth training, but for ${base} they need ${need(ALL)}.`);
      return notes;
    };

    const fillChoice = settings => {
      const {examples, parameters, memory} = settings;
      const facts = data.FACTS.filter(fact => settings[fact]);
      const situation = planning.situation({facts, examples, parameters, memory});
      const decision = planning.decide(situation);
      say(place(form, "method"), decision.method);
      say(place(form, "trains"), decision.parameters || "nothing");
      fillRow(decision.row);
      place(form, "notes").replaceChildren(...notesOn(situation, decision).map(note => make("p", {}, note)));
      fillTable(place(form, "needs"), data.TRAINS.map(name => {
        const needed = planning.needed(name, parameters);
        return [name, show(needed), needed <= memory ? "yes" : "no"];
      }));
    };

    run(form, planning, {choice: {needs: ["choice"], fill: fillChoice}});
  };

  document.querySelectorAll("form#calc").forEach(startCalculator);
  document.querySelectorAll("form#choose").forEach(startExplorer);
}
