// The pictures: a band for each generation, requests and latency, on one scale of time. Drawn again each second.

const LANE = 54, LABEL = 16, AXIS = 20, STEP = 2  // pixels
const THICK = { starting: 5, canary: 10, live: 14, standby: 6, draining: 7, stopping: 3 }
const TALLEST = 20                                // added to a band at the maximum load
const LETTER = 6.7

const SVG = "http://www.w3.org/2000/svg"

function shape(name, attributes, ...children) {
  const made = document.createElementNS(SVG, name)
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value)
  made.append(...children)
  return made
}

// The horizontal position of a time in a picture.
class Scale {
  constructor(svg, spanMs, now, gutter = 0) {
    Object.assign(this, { width: Math.max(1, svg.clientWidth - gutter), gutter, spanMs, now, from: now - spanMs })
  }

  x(at) {
    return Math.max(0, Math.min(this.width, (at - this.from) / this.spanMs * this.width))
  }

  column(at) {
    return Math.floor(this.x(at) / STEP)
  }

  ticks() {
    const stepMs = [60_000, 300_000, 600_000, 1200_000].find(step => this.width * step / this.spanMs > 60) ?? 1200_000
    const first = Math.ceil(this.from / stepMs) * stepMs
    return Array.from({ length: Math.floor((this.now - first) / stepMs) + 1 }, (_, index) => first + index * stepMs)
  }
}

// Replaces a picture, but keeps its title element, which describes the picture.
function redraw(svg, height, description, ...children) {
  const title = svg.firstElementChild
  title.textContent = description
  svg.setAttribute("height", height)
  svg.replaceChildren(title, ...children)
}

function grid(scale, height) {
  return shape("g", { class: "grid" }, ...scale.ticks().flatMap(at => {
    const x = scale.x(at)
    const line = shape("line", { x1: x, x2: x, y1: 0, y2: height - AXIS + 2 })
    if (x < 18 || x > scale.width - 18) return [line]
    return [line, shape("text", { x, y: height - 4, "text-anchor": "middle" }, clockOf(new Date(at)).slice(0, 5))]
  }))
}

// --- bands ----------------------------------------------------------------------------------------------------------

function drawBands(svg, timeline, loadHistory, scale) {
  const seen = timeline.inLanes().filter(one => (one.endedAt ?? scale.now) > scale.from)
  const lanes = Math.max(0, ...seen.map(one => one.lane)) + 1
  const loads = loadsByColumn(loadHistory, scale)
  const most = Math.max(4, ...[...loads.values()].flatMap(columns => columns.map(([flight, tunnels]) => flight + tunnels)))
  const freeTo = new Map()
  const bands = seen.reverse().map(one => {  // the newest first, so that its label always has room
    const from = scale.x(one.phases[0].at), to = Math.max(scale.x(one.endedAt ?? scale.now), from + 3)
    const middle = one.lane * LANE + LABEL + 19
    const made = band(one, loads.get(one.id) ?? [], most, scale, { from, to, middle })
    const placed = label(one, from, freeTo.get(one.lane) ?? scale.width, scale.width)
    if (placed) made.append(shape("text", { x: placed.x, y: middle - 23 }, placed.text))
    freeTo.set(one.lane, Math.min(from, placed?.x ?? from) - LETTER)
    return made
  })
  const height = lanes * LANE + LABEL + AXIS - 8
  const descriptions = seen.map(one => `generation ${one.id}, ${nameOf(one.release)}: ${one.endedAt ? "retired" : one.phases.at(-1).state}`)
  redraw(svg, height, descriptions.join("; ") || "nothing has run", grid(scale, height), ...bands)
}

// For each generation an array of [in flight, tunnels], one for each column: the maximum of its samples.
function loadsByColumn(loadHistory, scale) {
  const loads = new Map()
  loadHistory.samples.forEach((sample, index) => {
    const until = Math.min(loadHistory.samples[index + 1]?.at ?? scale.now, sample.at + GAP_MS)
    if (until < scale.from) return
    for (const [id, { in_flight: flight, tunnels }] of sample.generations) {
      if (!loads.has(id)) loads.set(id, [])
      const columns = loads.get(id)
      for (let column = scale.column(sample.at); column <= scale.column(until); column++) {
        const [most, open] = columns[column] ?? [0, 0]
        columns[column] = [Math.max(most, flight), Math.max(open, tunnels)]
      }
    }
  })
  return new Map([...loads].map(([id, columns]) => [id, Array.from(columns, column => column ?? [0, 0])]))
}

function band(one, columns, most, scale, { from, to, middle }) {
  const group = shape("g", { class: "band", fill: colourOf(one.id) }, shape("title", {}, describeBand(one)))
  for (const isOuter of [true, false]) {
    one.phases.forEach(({ state, at }, index) => {
      const next = one.phases[index + 1]
      const x0 = Math.max(from, scale.x(at)), x1 = next ? Math.min(to, scale.x(next.at)) : to
      if (x1 <= x0) return
      const thick = x => {
        const [flight, tunnels] = columns[Math.floor(x / STEP)] ?? [0, 0]
        return THICK[state] + TALLEST * (flight + (isOuter ? tunnels : 0)) / most
      }
      group.append(shape("path", { class: isOuter ? `outer ${state}` : state, d: ribbon(x0, x1, middle, thick) }))
    })
  }
  group.append(...one.crashes.filter(at => at >= scale.from).map(at => cross(Math.min(scale.x(at), to), middle)))
  return group
}

function describeBand(one) {
  const since = one.phases.filter(phase => phase.at > 0).map(({ state, at }) => `${state} ${timeOf(at)}`)
  if (one.endedAt) since.push(`retired ${timeOf(one.endedAt)}`)
  return [`generation ${one.id}, ${nameOf(one.release)}`, ...since].join("\n")
}

// Returns as much of the id and the release's name as there is room for; the last label of a lane may start further left.
function label(one, from, freeTo, width) {
  const name = `${one.id} ${nameOf(one.release)}`
  if (freeTo === width && from + name.length * LETTER > width) return { x: Math.max(0, width - name.length * LETTER), text: name }
  const room = Math.floor((freeTo - from) / LETTER)
  if (room < String(one.id).length) return null
  return { x: from, text: name.length <= room ? name : room >= 7 ? `${name.slice(0, room - 1)}…` : String(one.id) }
}

// Returns a shape around a middle line, with a thickness for each column.
function ribbon(x0, x1, middle, thick) {
  const xs = [x0]
  for (let x = (Math.floor(x0 / STEP) + 1) * STEP; x < x1; x += STEP) xs.push(x)
  xs.push(x1)
  const half = xs.map(x => thick(Math.min(x, x1 - 0.01)) / 2)
  const smooth = half.map((own, at) => ((half[at - 1] ?? own) + 2 * own + (half[at + 1] ?? own)) / 4)
  const above = xs.map((x, at) => point(x, middle - smooth[at]))
  const below = xs.map((x, at) => point(x, middle + smooth[at])).reverse()
  return `M${above.join("L")}L${below.join("L")}Z`
}

const point = (x, y) => `${x.toFixed(1)} ${y.toFixed(1)}`

const cross = (x, y) => shape("path", { class: "cross", d: `M${x - 4} ${y - 4}l8 8m0 -8l-8 8` })

// --- requests and latency -------------------------------------------------------------------------------------------

const GUTTER = 58  // for the numbers next to a picture
const PLOT = 84, FLOOR = PLOT - 2, CEILING = 14

// Draws the generations' shares in their colours, stacked.
function drawRequests(svg, loadHistory, scale) {
  const known = loadHistory.rates(scale.from)
  const columns = new Map(known.map(one => [scale.column(one.at), one]))  // the last sample of each column
  const most = Math.max(1, ...[...columns.values()].map(one => one.total))
  const y = rate => FLOOR - rate / most * (FLOOR - CEILING)
  const ids = [...new Set(known.flatMap(one => [...one.rates.keys()]))].sort((a, b) => a - b)
  const areas = ids.map(id => {
    const edges = [...columns].map(([column, { rates }]) => {
      const below = ids.filter(other => other < id).reduce((sum, other) => sum + (rates.get(other) ?? 0), 0)
      return { x: column * STEP, below: y(below), above: y(below + (rates.get(id) ?? 0)), exists: rates.has(id) }
    })
    const runs = runsOf(edges)
    return shape("path", { class: "share", fill: colourOf(id), stroke: colourOf(id), d: runs.map(outline).join("") })
  })
  const now = known.at(-1)
  const isQuiet = !known.some(one => one.total)
  redraw(svg, PLOT, isQuiet ? NOTHING : `${short(now.total)} a second now, at most ${short(most)}`,
    ...areas, ...(isQuiet ? [empty(scale)] : []), mark(most > 1 ? `${short(most)}/s` : "", CEILING + 4, scale), floor(scale))
  return now?.total ?? null
}

// Returns the runs of neighbouring edges that exist.
function runsOf(edges) {
  const runs = []
  edges.forEach((edge, index) => {
    if (!edge.exists) return
    if (!edges[index - 1]?.exists) runs.push([])
    runs.at(-1).push(edge)
  })
  return runs
}

const outline = run =>
  `M${[...run.map(({ x, above }) => point(x, above)), ...run.map(({ x, below }) => point(x, below)).reverse()].join("L")}Z`

// The scale is logarithmic, because rare requests take a hundred times as long as usual ones.
function drawLatency(svg, loadHistory, scale) {
  const known = loadHistory.latencies.filter(one => one.at >= scale.from)
  const least = 10 ** Math.floor(Math.log10(Math.max(1e-4, Math.min(...known.map(one => one.half)))))
  const most = 10 ** Math.ceil(Math.log10(Math.max(least * 10, ...known.map(one => one.most))))
  const y = seconds => FLOOR - Math.log10(Math.max(seconds, least) / least) / Math.log10(most / least) * (FLOOR - CEILING)
  const path = key => known.map(one => `${scale.x(one.at).toFixed(1)},${y(one[key]).toFixed(1)}`)
  const between = shape("polygon", { class: "between", points: [...path("most"), ...path("half").reverse()].join(" ") })
  const lines = ["most", "half"].map(key => shape("polyline", { class: key, points: path(key).join(" ") }))
  const now = known.at(-1)
  const marks = known.length ? [mark(millis(most), CEILING + 4, scale), mark(millis(least), FLOOR, scale)] : []
  redraw(svg, PLOT, now ? `median ${millis(now.half)}, 95th percentile ${millis(now.most)}` : NOTHING,
    between, ...lines, ...marks, ...(now ? [] : [empty(scale)]), floor(scale))
  return now ?? null
}

const NOTHING = "no requests yet"
const empty = scale => shape("text", { x: scale.width / 2, y: PLOT / 2 + 4, "text-anchor": "middle" }, NOTHING)
const mark = (text, y, scale) => shape("text", { x: scale.width + 8, y }, text)
const floor = scale => shape("line", { class: "floor", x1: 0, x2: scale.width + scale.gutter, y1: FLOOR + 1, y2: FLOOR + 1 })
