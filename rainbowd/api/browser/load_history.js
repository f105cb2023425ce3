// The load of the last hour: the agent's samples, and the counters that this page reads each second.

const GAP_MS = 15_000  // between two samples; a longer gap has no data
const CLOSE_MS = 400   // samples that are closer add nothing

class LoadHistory {
  samples = []    // { at, generations: Map of id to { in_flight, tunnels, requests } }, oldest first
  latencies = []  // { at, half, most }: the median and the 95th percentile, in seconds

  // Adds the load of each generation at a time, which can be older than the last sample.
  add(generations, at) {
    let index = this.samples.length
    while (index && this.samples[index - 1].at > at) index--
    const neighbours = [this.samples[index - 1], this.samples[index]]
    if (neighbours.some(sample => sample && Math.abs(sample.at - at) < CLOSE_MS)) return
    this.samples.splice(index, 0, { at, generations: new Map(generations.map(generation => [generation.id, generation])) })
    dropOld(this.samples, at)
  }

  // Adds the samples that GET /load returns.
  addAll(samples) {
    for (const sample of samples) {
      const at = Date.parse(sample.at)
      this.add(sample.generations, at)
      if (sample.half_seconds !== null) this.latencies.push({ at, half: sample.half_seconds, most: sample.most_seconds })
      dropOld(this.latencies, at)
    }
  }

  // Returns the requests per second between each two samples, by generation: { at, rates: Map, total }.
  rates(from) {
    return this.samples.flatMap((sample, index) => {
      const before = this.samples[index - 1]
      if (!before || sample.at < from || sample.at - before.at > GAP_MS) return []
      const rates = new Map([...sample.generations].map(([id, { requests }]) => {
        const more = Math.max(0, requests - (before.generations.get(id)?.requests ?? 0))  // the next agent counts from 0
        return [id, more * 1000 / (sample.at - before.at)]
      }))
      return [{ at: sample.at, rates, total: [...rates.values()].reduce((sum, rate) => sum + rate, 0) }]
    })
  }
}

function dropOld(samples, at) {
  while (samples.length && samples[0].at < at - KEEP_MS) samples.shift()
}
