// How much there was to do: what the agent remembers of the last hour, and what this page sees each second.

const GAP_MS = 15_000  // between two samples; what is longer is not known
const CLOSE_MS = 400   // samples that are closer tell nothing more

class Load {
  samples = []    // { at, generations: Map of id to { in_flight, tunnels, requests } }, oldest first
  latencies = []  // { at, half, most }: the median and the 95th percentile, in seconds

  // What each generation has at a time, be it known at once or only later.
  see(generations, at) {
    let place = this.samples.length
    while (place && this.samples[place - 1].at > at) place--
    if ([this.samples[place - 1], this.samples[place]].some(one => one && Math.abs(one.at - at) < CLOSE_MS)) return
    this.samples.splice(place, 0, { at, generations: new Map(generations.map(one => [one.id, one])) })
    forget(this.samples, at)
  }

  // What /load answers.
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
