// The arithmetic of labs/planning in the page: shapes.py, memory.py, cost.py and decide.py, function by
// function under the same names. What the numbers mean and where they come from is said there; a test
// compares the results. `data` is what course_planner.py takes from those modules: nothing is typed twice.
window.planning = data => {
  const {ALL, ADAPTER, QUANTISED} = data.names;
  const {ADAMW, FUSED, ADAMW8, SGD} = data.names;
  const ALL_LINEAR = data.all_linear;

  const sum = numbers => numbers.reduce((total, each) => total + each, 0);
  const has = (table, key) => Object.hasOwn(table, key);

  // As Python prints a value, so that the sentences are the same.
  const repr = value => {
    if (typeof value === "string") return value.includes("'") && !value.includes('"') ? `"${value}"` : `'${value}'`;
    const others = new Map([[true, "True"], [false, "False"], [null, "None"], [undefined, "None"],
                            [NaN, "nan"], [Infinity, "inf"], [-Infinity, "-inf"]]);
    return others.get(value) ?? String(value);
  };

  // What is refused: the field at fault, a sentence as in Python, and more advice for a reader.
  class Refusal extends Error {
    constructor(field, sentence, advice = "") {
      super(sentence);
      Object.assign(this, {field, advice});
    }
  }

  const whole = {must: "a whole number from 1 to 10 million", holds: x => Number.isInteger(x) && x >= 1 && x <= 1e7};
  const share = {must: "a share above 0, up to 1", holds: x => x > 0 && x <= 1};
  const amount = {must: "from 1 to 1e15", holds: x => x >= 1 && x <= 1e15};
  const rules = {
    rows: whole, length: whole, rank: whole, devices: whole, sampled: whole,
    reached: share, reached_sampling: share, tokens: amount, passes: amount,
    price: {must: "from 0 to a million dollars", holds: x => x >= 0 && x <= 1e6},
  };

  const check = (settings, ...fields) => {
    for (const field of fields) {
      const value = settings[field], {must, holds} = rules[field];
      if (typeof value !== "number" || !holds(value))
        throw new Refusal(field, `${field} is ${repr(value)}: it must be ${must}`);
    }
  };

  // Shapes ----------------------------------------------------------------------------------------

  const checkShape = shape => {
    if (!has(data.FAMILIES, shape.family))
      throw new Refusal("family", `the family is ${repr(shape.family)}: choose one of ${Object.keys(data.FAMILIES).join(", ")}`);
    for (const size of ["layers", "width", "inner", "heads", "kv_heads", "head", "vocabulary"])
      if (!Number.isInteger(shape[size]) || shape[size] < 1)
        throw new Refusal(size, `${size} is ${repr(shape[size])}: it must be a whole number from 1 up`);
    if (shape.heads % shape.kv_heads)
      throw new Refusal("heads", `${shape.heads} heads do not divide among ${shape.kv_heads} heads of keys and values`);
    return shape;
  };

  const known = () => data.shapes;

  const named = name => {
    const found = data.shapes.find(shape => shape.name === name);
    if (found) return found;
    const near = closest(String(name).toLowerCase(), data.shapes.map(shape => shape.name.toLowerCase()));
    const names = near.map(lowered => data.shapes.find(shape => shape.name.toLowerCase() === lowered).name);
    const offered = names.length ? names : data.shapes.slice(0, 3).map(shape => shape.name);
    throw new Refusal("model", `no model is called ${repr(name)}: the nearest are ${offered.join(", ")}`);
  };

  // Python's difflib.get_close_matches(word, candidates, n=3, cutoff=0.3).
  const closest = (word, candidates) => candidates
    .map(each => ({each, score: likeness(each, word)}))
    .filter(({score}) => score >= 0.3)
    .sort((a, b) => b.score - a.score || (a.each < b.each ? 1 : -1))
    .slice(0, 3)
    .map(({each}) => each);

  const likeness = (a, b) => {
    const [these, those] = [[...a], [...b]];
    return 2 * matching(these, those) / (these.length + those.length);
  };

  // How many characters the longest common run has, and those left and right of it.
  const matching = (a, b) => {
    let [start, other, size] = [0, 0, 0];
    for (let i = 0; i < a.length; i++)
      for (let j = 0; j < b.length; j++) {
        let k = 0;
        while (i + k < a.length && j + k < b.length && a[i + k] === b[j + k]) k++;
        if (k > size) [start, other, size] = [i, j, k];
      }
    if (!size) return 0;
    return size + matching(a.slice(0, start), b.slice(0, other)) + matching(a.slice(start + size), b.slice(other + size));
  };

  const familyOf = shape => data.FAMILIES[shape.family];
  const matrix = (name, d_out, d_in, copies = 1) => ({name, d_out, d_in, copies});
  const queriesOf = shape => shape.heads * shape.head;
  const keysOf = shape => shape.kv_heads * shape.head;

  const matrices = shape => {
    const {fused, gated} = familyOf(shape), {width, inner, experts} = shape;
    const queries = queriesOf(shape), keys = keysOf(shape);
    const attention = fused
      ? [matrix("qkv", queries + 2 * keys, width)]
      : [matrix("q", queries, width), matrix("k", keys, width), matrix("v", keys, width)];
    let forward;
    if (experts)
      forward = [matrix("router", experts, width), matrix("gate_up", 2 * inner, width, experts), matrix("down", width, inner, experts)];
    else if (!gated)
      forward = [matrix("up", inner, width), matrix("down", width, inner)];
    else if (fused)
      forward = [matrix("gate_up", 2 * inner, width), matrix("down", width, inner)];
    else
      forward = [matrix("gate", inner, width), matrix("up", inner, width), matrix("down", width, inner)];
    return [...attention, matrix("o", width, queries), ...forward];
  };

  const linearParameters = shape =>
    shape.layers * sum(matrices(shape).map(each => each.copies * each.d_out * each.d_in));

  const layerVectors = shape => {
    const family = familyOf(shape), all = matrices(shape);
    const biased = {"": [], qkv: ["q", "k", "v"]}[family.biases] ?? all.map(each => each.name);
    const biases = sum(all.filter(each => biased.includes(each.name)).map(each => each.d_out));
    const norms = family.norms * shape.width * (family.layer_norm ? 2 : 1);
    const ofQueriesAndKeys = {"": 0, head: 2 * shape.head, whole: queriesOf(shape) + keysOf(shape)};
    return biases + norms + ofQueriesAndKeys[family.query_key_norm];
  };

  const embedding = shape => shape.vocabulary * shape.width;

  const body = shape => {
    const lastNorm = shape.width * (familyOf(shape).layer_norm ? 2 : 1);
    const outside = embedding(shape) + shape.positions * shape.width + lastNorm;
    return linearParameters(shape) + shape.layers * layerVectors(shape) + outside;
  };

  const total = shape => body(shape) + (shape.tied ? 0 : embedding(shape));

  const active = shape => {
    const experts = matrices(shape).filter(each => each.copies > 1);
    const idle = sum(experts.map(each => (each.copies - shape.active_experts) * each.d_out * each.d_in));
    return linearParameters(shape) - shape.layers * idle + embedding(shape);
  };

  const adapted = (shape, targets = ALL_LINEAR) => {
    const own = matrices(shape);
    if (targets === ALL_LINEAR) return own;
    const names = typeof targets === "string" ? [targets] : targets;
    const ownNames = own.map(each => each.name);
    if (!names.length || names.some(name => !ownNames.includes(name)))
      throw new Refusal("targets", `${repr(targets)} are no matrices of ${shape.name}: give ${repr(ALL_LINEAR)} or some of ${ownNames.join(", ")}`);
    return own.filter(each => names.includes(each.name));
  };

  const adapter = (shape, rank, targets = ALL_LINEAR) => shape.layers * sum(adapted(shape, targets).map(each =>
    each.copies * rank * (each.copies > 1 && each.name === "gate_up" ? 2 : 1) * (each.d_out + each.d_in)));

  // Memory ----------------------------------------------------------------------------------------

  // A checked Training: `settings` over the defaults of memory.py. `shape` is one of known().
  const training = settings => {
    const made = {...data.training, ...settings};
    const choices = {
      method: Object.keys(data.METHODS), trains: data.TRAINS, precision: Object.keys(data.PRECISIONS),
      optimizer: data.OPTIMIZERS, stage: [0, 1, 2, 3],
    };
    for (const [field, values] of Object.entries(choices))
      if (!values.includes(made[field]))
        throw new Refusal(field, `${field} is ${repr(made[field])}: choose from ${values.join(", ")}`);
    check(made, "rows", "length", "rank", "devices", "sampled");
    const {shape, length} = made;
    checkShape(shape);
    if (shape.positions && length > shape.positions)
      throw new Refusal("length", `${shape.name} has ${shape.positions} positions: a row of ${length} tokens does not fit`,
        `Write ${shape.positions} or less.`);
    adapted(shape, made.targets);
    return Object.freeze(made);
  };

  const modelsOf = training => data.METHODS[training.method];
  const precisionOf = training => data.PRECISIONS[training.precision];
  const tokensOf = training => modelsOf(training).sequences * training.rows * training.length;
  const isAdapter = training => training.trains !== ALL;

  const trainable = training => {
    const models = modelsOf(training), {shape} = training;
    if (isAdapter(training)) return models.trained * adapter(shape, training.rank, training.targets);
    return (models.trained - models.bodies) * total(shape) + models.bodies * body(shape);
  };

  const frozenWeights = training => {
    const models = modelsOf(training), {shape} = training, size = precisionOf(training).frozen;
    let bodies = models.frozen_bodies, whole = models.frozen - bodies;
    if (isAdapter(training)) {
      bodies += models.bodies;
      whole += models.trained - models.bodies - models.references;
    }
    const saved = training.trains === QUANTISED ? linearParameters(shape) * (size - data.NF4) : 0;
    return whole * (size * total(shape) - saved) + bodies * (size * body(shape) - saved);
  };

  const optimizerBytes = training => {
    const precision = precisionOf(training), full = 2 * precision.moment;
    return precision.master + {[ADAMW]: full, [FUSED]: full, [ADAMW8]: data.MOMENTS8, [SGD]: 0}[training.optimizer];
  };

  const states = training => {
    const count = trainable(training);
    const whole = {
      "weights": precisionOf(training).weight * count,
      "frozen weights": frozenWeights(training),
      "optimiser states": optimizerBytes(training) * count,
    };
    return sharded(whole, training.devices, training.stage);
  };

  const gradients = training => {
    const whole = precisionOf(training).gradient * trainable(training);
    return sharded({gradients: whole}, training.devices, training.stage).gradients;
  };

  const sharded = (parts, devices, stage) => Object.fromEntries(Object.entries(parts).map(
    ([part, bytes]) => [part, stage >= (data.DIVIDED_FROM[part] ?? 4) ? bytes / devices : bytes]));

  const savedByLayer = training => {
    const {shape} = training, family = familyOf(shape), size = precisionOf(training).compute;
    const queries = queriesOf(shape), keys = keysOf(shape);
    return {
      "norms": family.norms * savedByNorm(training, shape.width, residual(training), 1)
        + savedByQueryKeyNorm(training, queries, keys),
      "attention": savedByAttention(training, queries, keys),
      "feed-forward": size * innerOf(shape) * (family.gated ? 3 : 4),
      "inputs of linear layers": savedInputs(training),
      "adapters": size * adapterWidth(training),
    };
  };

  const savedByNorm = (training, width, inputSize, sizes) => {
    const family = familyOf(training.shape);
    if (family.layer_norm) return inputSize * width + 2 * inputSize;
    const quotient = family.wide_norm ? 4 : inputSize;
    return width * (4 + (isAdapter(training) ? 0 : quotient)) + 4 * sizes;
  };

  const savedByQueryKeyNorm = (training, queries, keys) => {
    const {shape} = training, kind = familyOf(shape).query_key_norm;
    if (!kind) return 0;
    const sizes = kind === "head" ? shape.heads + shape.kv_heads : 2;
    return savedByNorm(training, queries + keys, precisionOf(training).compute, sizes);
  };

  const residual = training => {
    const {copies, compute} = precisionOf(training);
    return copies && !isAdapter(training) ? 4 : compute;
  };

  const savedByAttention = (training, queries, keys) => {
    const {shape} = training, family = familyOf(shape), {compute: size, copies} = precisionOf(training);
    if (training.fused) {
      const whole = family.fused && !shape.positions ? 2 * queries + keys : 0;
      return size * (2 * queries + 2 * keys + whole) + 4 * shape.heads;
    }
    const rounded = size === 2 && (copies || !family.layer_norm) ? size : 0;
    const table = family.layer_norm && !copies ? size : 4;
    return size * 4 * queries + shape.heads * training.length * (table + rounded);
  };

  const innerOf = shape => shape.inner * (shape.active_experts || 1);

  const savedInputs = training => {
    const {shape} = training, {compute} = precisionOf(training);
    const learning = (isAdapter(training) ? adapted(shape, training.targets) : matrices(shape)).map(each => each.name);
    const copies = residual(training) === 4 && compute === 2;
    const read = (names, width, fromResidual) => {
      const count = names.filter(name => learning.includes(name)).length;
      return compute * width * (copies && fromResidual ? count : Math.min(count, 1));
    };
    return read(["q", "k", "v", "qkv"], shape.width, true)
      + read(["gate", "up", "gate_up"], shape.width * (shape.active_experts || 1), true)
      + read(["down"], innerOf(shape), false);
  };

  const adapterWidth = training =>
    isAdapter(training) ? training.rank * adapted(training.shape, training.targets).length : 0;

  const activations = training => {
    const {shape} = training, tokens = tokensOf(training);
    const lastNorm = savedByNorm(training, shape.width, residual(training), 1)
      + (isAdapter(training) ? 0 : precisionOf(training).compute * shape.width);
    const parts = training.checkpointing
      ? {"layers' inputs": tokens * shape.layers * (residual(training) * shape.width)}
      : Object.fromEntries(Object.entries(savedByLayer(training)).map(([name, bytes]) => [name, tokens * shape.layers * bytes]));
    return {...parts, "last norm": tokens * lastNorm};
  };

  const cache = training => {
    const {shape, sampled, length} = training;
    if (!modelsOf(training).samples) return 0;
    return cacheBytes(shape.layers, shape.kv_heads, shape.head, sampled, length, precisionOf(training).compute);
  };

  const cacheBytes = (layers, kvHeads, head, rows, length, size) => 2 * layers * kvHeads * head * rows * length * size;

  const moments = training => {
    const always = states(training);
    return passing(training).map(([name, more]) => {
      const parts = Object.fromEntries(Object.entries({...always, ...more}).filter(([, bytes]) => bytes));
      return {name, parts, total: sum(Object.values(parts))};
    });
  };

  const peak = training => moments(training).reduce((most, moment) => moment.total > most.total ? moment : most);

  const toPlan = training => data.MARGIN * peak(training).total;

  const passing = training => {
    const models = modelsOf(training), {shape, checkpointing} = training, precision = precisionOf(training);
    const table = training.chunked ? 0 : tokensOf(training) * shape.vocabulary;
    const saved = models.trained * sum(Object.values(activations(training)));
    const kept = training.accumulation ? gradients(training) : 0;
    const copies = copiesOf(training), gathered = gatheredOf(training);
    const head = isAdapter(training) ? 0 : precision.gradient * embedding(shape);
    const again = tokensOf(training) * sum(Object.values(savedByLayer(training)));
    const sampling = [["sampling", {"key–value cache": cache(training), "gathered layers": gathered}]];
    return [
      ...(models.samples ? sampling : []),
      ["loss", {
        "gradients": kept,
        "activations": saved,
        "logits": table * (precision.compute === 4 ? 8 : precision.compute + 8),
        "bfloat16 copies": copies,
        "gathered layers": gathered,
      }],
      ["gradient of the loss", {
        "gradients": kept,
        "activations": saved,
        "logits": 12 * table,
        "bfloat16 copies": checkpointing ? 0 : copies,
        "gathered layers": gathered,
      }],
      ["first layer of the backward pass", {
        "gradients": kept + head,
        "activations": saved + (checkpointing ? again : 0),
        "logits": precision.compute * table,
        "bfloat16 copies": checkpointing ? 0 : copies,
        "gathered layers": gathered,
      }],
      ["end of the backward pass", {
        "gradients": gradients(training),
        "working space": shape.tied ? (copies ? 1 : 2) * head : 0,
        "gathered layers": gathered,
      }],
      ["optimiser step", {"gradients": gradients(training), "working space": workingSpace(training)}],
    ];
  };

  const copiesOf = training => {
    const models = modelsOf(training), {shape} = training;
    if (!precisionOf(training).copies || isAdapter(training) || training.stage === 3) return 0;
    const heads = (models.trained - models.bodies) * embedding(shape);
    return 2 * (models.trained * linearParameters(shape) + heads);
  };

  const gatheredOf = training => {
    if (training.stage < 3 || training.devices === 1) return 0;
    const {shape} = training, size = precisionOf(training).compute;
    const linear = linearParameters(shape) / shape.layers;
    const layer = linear * (training.trains === QUANTISED ? data.NF4 : size);
    const outside = embedding(shape) * (shape.tied ? 1 : 2);
    return 2 * (layer + size * layerVectors(shape)) + size * outside;
  };

  const workingSpace = training => {
    if (training.optimizer !== ADAMW) return 0;
    const {master, moment} = precisionOf(training);
    const whole = {"optimiser states": (master ? 4 : moment) * trainable(training)};
    return sharded(whole, training.devices, training.stage)["optimiser states"];
  };

  // Cost ------------------------------------------------------------------------------------------

  // A checked Job: `settings` over the defaults of cost.py. `training` is what training() made.
  const job = settings => {
    const made = {...data.job, ...settings};
    if (!has(data.CARDS, made.card))
      throw new Refusal("card", `the card is ${repr(made.card)}: choose one of ${Object.keys(data.CARDS).join(", ")}`);
    check(made, "reached", "reached_sampling", "tokens", "passes", "price");
    return Object.freeze(made);
  };

  const tokenFlops = (parameters, frozen, checkpointing) => 2 * parameters * (2 + !frozen + checkpointing);

  const attentionFlops = training => {
    const {shape} = training;
    return 2 * shape.layers * shape.heads * shape.head * training.length;
  };

  const forwardFlops = training => 2 * active(training.shape) + attentionFlops(training);

  const trainedFlops = training => {
    const products = tokenFlops(active(training.shape), isAdapter(training), training.checkpointing);
    return products + attentionFlops(training) * (3 + training.checkpointing);
  };

  const flops = job => {
    const passes = data.PASSES[job.training.method];
    const forward = forwardFlops(job.training) * job.tokens;
    return {
      sampling: passes.sampled * forward,
      scoring: passes.forward * forward,
      training: passes.trained * job.passes * trainedFlops(job.training) * job.tokens,
    };
  };

  const hours = job => {
    const top = job.training.devices * data.CARDS[job.card].flops;
    const reached = {sampling: job.reached_sampling, scoring: job.reached, training: job.reached};
    return Object.fromEntries(Object.entries(flops(job)).map(([name, count]) => [name, count / (top * reached[name]) / 3600]));
  };

  const dollars = job => sum(Object.values(hours(job))) * job.training.devices * job.price;

  const labelHours = (items, minutes, judgements = 1) => {
    if (!(Math.min(items, minutes, judgements) >= 0))
      throw new Refusal("items", "items, minutes and judgements are counts: none can be negative");
    return items * minutes * judgements / 60;
  };

  const fits = (training, card) => toPlan(training) <= data.CARDS[card].memory * data.GIB;

  // Decide ----------------------------------------------------------------------------------------

  // A checked Situation: `settings` over the defaults of decide.py. `facts` are some of FACTS.
  const situation = settings => {
    const made = {...data.situation, ...settings};
    const unknown = [...made.facts].filter(fact => !data.FACTS.includes(fact)).sort();
    if (unknown.length)
      throw new Refusal("facts", `${repr(unknown[0])} is no fact of the table: choose from ${data.FACTS.join(", ")}`);
    for (const size of ["examples", "parameters", "memory"])
      if (!(Number.isFinite(made[size]) && made[size] > 0))
        throw new Refusal(size, `${size} must be positive and finite, not ${repr(made[size])}`);
    return Object.freeze(made);
  };

  const decide = situation => {
    const holds = row => row.present.every(fact => situation.facts.includes(fact))
      && !row.absent.some(fact => situation.facts.includes(fact));
    const row = data.TABLE.find(holds);
    return {method: row.method, parameters: data.UNTRAINED.includes(row.method) ? "" : trainableIn(situation), row};
  };

  // decide.py's `trainable`; memory.py has one, too.
  const trainableIn = situation => {
    const wanted = situation.examples >= data.FOR_ALL_PARAMETERS ? [ALL, ADAPTER, QUANTISED] : [ADAPTER, QUANTISED];
    return wanted.find(name => needed(name, situation.parameters) <= situation.memory) ?? "a smaller base";
  };

  const needed = (name, parameters) => {
    const usual = data.shapes.filter(shape => !(shape.positions || shape.experts));
    const distance = shape => Math.abs(Math.log(total(shape) / (parameters * 1e9)));
    const shape = usual.reduce((nearest, each) => distance(each) < distance(nearest) ? each : nearest);
    return toPlan(training({shape, trains: name})) / data.GIB * (parameters * 1e9) / total(shape);
  };

  return {
    Refusal, rules,
    known, named, checkShape, matrices, linearParameters, layerVectors, embedding, body, total, active, adapted, adapter,
    training, trainable, frozenWeights, optimizerBytes, states, gradients, sharded, savedByLayer, activations, cache,
    cacheBytes, moments, peak, toPlan,
    job, tokenFlops, attentionFlops, forwardFlops, trainedFlops, flops, hours, dollars, labelHours, fits,
    situation, decide, trainableIn, needed,
  };
};
