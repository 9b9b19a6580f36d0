/** What a deletion receipt says, on the page and as a file. */
import type { Receipt } from '../api/types'
import { bytes, plural } from './format'

const WHY: Record<string, string> = {
  user: 'you asked for it',
  expired: 'the session had expired',
  'page closed': 'the page was closed',
  'case deleted': 'you asked for it',
}

/** One sentence: what, how many bytes. */
export function receiptSentence(receipt: Receipt): string {
  const what = `${plural(receipt.cases, 'case')} with ${plural(receipt.files, 'file')} (${bytes(receipt.bytes)})`
  const stopped = receipt.stopped ? `, and stopped ${plural(receipt.stopped, 'running stage')}` : ''
  return `Deleted ${what}${stopped}.`
}

/** The receipt as a text file to keep. */
export function receiptText(receipt: Receipt): string {
  return [
    'HOPE: deletion receipt',
    '',
    receiptSentence(receipt),
    `When:       ${new Date(receipt.at * 1000).toISOString()}`,
    `Why:        ${WHY[receipt.reason] ?? receipt.reason}`,
    `Bytes:      ${receipt.bytes}`,
    `Reference:  ${receipt.reference}`,
    ...receipt.unconfirmed.map((sentence) => `Not yet confirmed: ${sentence}`),
    '',
    'The reference is a hash under which the audit log of the server knows this deletion.',
    'It says nothing about you or your data.',
    '',
  ].join('\n')
}

export const receiptName = (receipt: Receipt): string =>
  `hope-deletion-${new Date(receipt.at * 1000).toISOString().slice(0, 10)}-${receipt.reference.slice(0, 8)}.txt`
