/** Remarks about a result. The server sends them worst first: by severity, then in a fixed order. */
import type { QcFlag } from '../api/types'

const RANK: Record<string, number> = { fail: 0, error: 0, severe: 0, warning: 1, caution: 2, info: 3, note: 3 }
const WORD: Record<string, string> = {
  fail: 'Serious',
  error: 'Serious',
  severe: 'Serious',
  warning: 'Warning',
  caution: 'Caution',
}

const rank = (flag: QcFlag): number => RANK[flag.severity] ?? 1

export const wordOf = (flag: QcFlag): string => WORD[flag.severity] ?? 'Note'

/** The classes of a remark's badge. */
export const badgeOf = (flag: QcFlag): string =>
  rank(flag) === 0 ? 'badge failed' : rank(flag) <= 2 ? 'badge warned' : 'badge'

/** Whether it asks the reader to look, rather than telling a fact. */
export const asksToLook = (flag: QcFlag): boolean => rank(flag) <= 2

export const worstFirst = (flags: readonly QcFlag[]): QcFlag[] =>
  [...flags].sort((one, other) => rank(one) - rank(other))

/** The remark that a reader must not miss; undefined if none asks to look. */
export const worstOf = (flags: readonly QcFlag[]): QcFlag | undefined => worstFirst(flags).find(asksToLook)
