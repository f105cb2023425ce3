// The load: the agent's samples of the last hour, and what this page reads each second.

const GAP_MS = 15_000  // between two samples; a longer gap has no data
const CLOSE_MS = 400   // samples that are closer add nothing

class LoadHistory {
  samples = []    // { at, generations: Map of id to { in_flight, tunnels, requests } }, oldest first
  latencies = []  // { at, half, most }: the median and the 95th percentile, in seconds

  // Adds the load of each generation at a time, which can be older than the last sample.
  see(generations, at) {
    let place = this.samples.length
    while (place && this.samples[place - 1].at > at) place--
    if ([this.samples[place - 1], this.samples[place]].some(one => one && Math.abs(one.at - at) < CLOSE_MS)) return
    this.samples.splice(place, 0, { at, generations: new Map(generations.map(one => [one.id, one])) })
    forget(this.samples, at)
  }

  // Adds the samples that GET /load returns.
  remember(samples) {
    for (const sample of samples) {
      const at = Date.parse(sample.at)
      this.see(sample.generations, at)
      if (sample.half_seconds !== null) this.latencies.push({ at, half: sample.half_seconds, most: sample.most_seconds })
      forget(this.latencies, at)
    }
  }

  // Requests a second between each two samples, by generation: { at, rates: Map, total }.
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

function forget(samples, at) {
  while (samples.length && samples[0].at < at - KEEP_MS) samples.shift()
}
