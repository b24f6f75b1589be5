/**
 * Estimates of the time left, from the operations per millisecond of every stage in earlier restores of the same model.
 * Stages differ much in that rate, but hardly from one restore to the next.
 */

/** Operations of each stage of a restore, in their order. */
export type StageWork = Readonly<Record<string, number>>

/** Operations, and the milliseconds they took. */
interface Spent {
  work: number
  ms: number
}

/** How far a restore is. */
export interface Distance {
  /** Part of all operations that is done, 0 to 1. */
  done: number
  /** Milliseconds to the end; `null` while nothing tells. */
  etaMs: number | null
}

export class Pace {
  /** Of the last restore that passed a stage. */
  readonly #stages = new Map<string, Spent>()

  /** Milliseconds that a restore of so much work takes; `null` before the first restore. */
  milliseconds(plan: StageWork): number | null {
    return this.left(plan, () => 0, this.overall())
  }

  /** Follows a restore, and learns from it. */
  follow(plan: StageWork): Course {
    return new Course(this, plan)
  }

  /** @internal */
  learn(stage: string, spent: Spent): void {
    if (spent.work > 0 && spent.ms > 0) this.#stages.set(stage, spent)
  }

  /**
   * @internal
   * @param done      operations of a stage that are done
   * @param otherwise the rate for stages that no restore has passed yet
   * @param current   what is known of a stage from this restore, which counts more
   */
  left(
    plan: StageWork,
    done: (stage: string) => number,
    otherwise: Spent,
    current: (stage: string) => Spent | undefined = () => undefined,
  ): number | null {
    let total = 0
    for (const [stage, work] of Object.entries(plan)) {
      const left = work - done(stage)
      if (left <= 0) continue
      const { work: known, ms } = current(stage) ?? this.#stages.get(stage) ?? otherwise
      if (known === 0) return null
      total += (left * ms) / known
    }
    return total
  }

  /** @internal */
  overall(): Spent {
    return sum([...this.#stages.values()])
  }
}

/** One restore on its way. */
export class Course {
  readonly #pace: Pace
  readonly #plan: StageWork
  readonly #passed = new Map<string, Spent>()
  #stage = ''
  #began = 0
  #spent: Spent = { work: 0, ms: 0 }

  constructor(pace: Pace, plan: StageWork) {
    this.#pace = pace
    this.#plan = plan
  }

  /** A report: so many operations of `stage` are done, `elapsedMs` after the restore began. */
  at(stage: string, done: number, elapsedMs: number): Distance {
    if (stage !== this.#stage) this.#pass(stage, elapsedMs)
    this.#spent = { work: done, ms: elapsedMs - this.#began }
    const finished = (name: string) => (name === stage ? done : (this.#passed.get(name)?.work ?? 0))
    const whole = Object.values(this.#plan).reduce((a, b) => a + b, 0)
    const all = Object.keys(this.#plan).reduce((total, name) => total + finished(name), 0)
    const here = this.#spent.work > 0 && this.#spent.ms > 0 ? this.#spent : undefined
    const soFar = sum([...this.#passed.values(), ...(here ? [here] : [])])
    const otherwise = soFar.work > 0 ? soFar : this.#pace.overall() // for stages that were never measured
    const etaMs = this.#pace.left(this.#plan, finished, otherwise, (name) => (name === stage ? here : undefined))
    return { done: whole > 0 ? Math.min(all / whole, 1) : 0, etaMs }
  }

  /** The restore has ended well. */
  end(elapsedMs: number): void {
    this.#pass('', elapsedMs)
  }

  /** Leaves a stage, all of whose work is done by then. */
  #pass(next: string, elapsedMs: number): void {
    const spent = { work: this.#plan[this.#stage] ?? 0, ms: elapsedMs - this.#began }
    if (spent.work > 0) this.#passed.set(this.#stage, spent)
    this.#pace.learn(this.#stage, spent)
    this.#stage = next
    this.#began = elapsedMs
  }
}

function sum(all: readonly Spent[]): Spent {
  return all.reduce((a, b) => ({ work: a.work + b.work, ms: a.ms + b.ms }), { work: 0, ms: 0 })
}
