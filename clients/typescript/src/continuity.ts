/** What is known to be missing: sequences `first` to `last`, inclusive, `count` of them (not more than lie between). */
export interface Range {
  readonly first: bigint;
  readonly last: bigint;
  readonly count: bigint;
}

/**
 * Which sequences of one epoch have been consumed, and whether what is missing between two of them was declared.
 *
 * Two kinds of envelopes stand out of line. KIND_DROPPED has the sequence of the last envelope it stands for. Connection
 * markers are never dropped, so they may come before the declaration of what was dropped around them. What is
 * missing is therefore counted when the next ordinary envelope comes.
 */
export class Continuity {
  /** The highest sequence consumed; 0 before the first. */
  last = 0n;
  #declared: Range[] = [];
  #overtaking: bigint[] = [];
  #joined: boolean;

  /** `joined`: whether this is the first epoch ever seen, in which an earlier envelope is nobody's loss. */
  constructor(joined: boolean) {
    this.#joined = joined;
  }

  /** Note a declaration. False where everything in it has come: its sender did not know yet. */
  declare(dropped: Range): boolean {
    if (dropped.last <= this.last) return false;
    this.#declared.push(dropped);
    return true;
  }

  /** Consume a connection marker, which may stand between declarations. False where it came before. */
  mark(sequence: bigint): boolean {
    if (sequence <= this.last || this.#overtaking.includes(sequence)) return false;
    if (sequence === this.last + 1n) this.last = sequence;
    else this.#overtaking.push(sequence);
    return true;
  }

  /** Consume an ordinary envelope. False where it came before; a range where some before it were lost undeclared. */
  consume(sequence: bigint): boolean | Range {
    if (sequence <= this.last) return false;
    const first = this.last + 1n;
    const joined = this.#joined && this.last === 0n;
    this.last = sequence;
    if (sequence === first || joined) return true;
    let missing = sequence - first - BigInt(this.#overtaking.filter((marker) => marker < sequence).length);
    for (const range of this.#declared) missing -= overlap(range, first, sequence - 1n);
    this.#declared = this.#declared.filter((range) => range.last > sequence);
    this.#overtaking = this.#overtaking.filter((marker) => marker > sequence);
    return missing > 0n ? { first, last: sequence - 1n, count: missing } : true;
  }
}

/** At most how many of a range's envelopes lie from `first` to `last`: ranges of several channels interleave. */
function overlap(range: Range, first: bigint, last: bigint): bigint {
  const from = range.first > first ? range.first : first;
  const to = range.last < last ? range.last : last;
  const most = to - from + 1n;
  return most < 0n ? 0n : most < range.count ? most : range.count;
}
