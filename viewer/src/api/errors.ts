/** Everything that can go wrong with a call, as one sentence that a person can act on. */
import type { ProblemJson } from './types'

export type ProblemKind = 'network' | 'signed-out' | 'gone' | 'refused' | 'busy' | 'server' | 'cancelled'

export class Problem extends Error {
  readonly kind: ProblemKind
  readonly status: number
  readonly json: ProblemJson

  constructor(kind: ProblemKind, sentence: string, status = 0, json: ProblemJson = {}) {
    super(sentence)
    this.name = 'Problem'
    this.kind = kind
    this.status = status
    this.json = json
  }

  /** Whether trying the same again may work. */
  get worthRetrying(): boolean {
    return this.kind === 'network' || this.kind === 'busy' || this.kind === 'server'
  }
}

export const LOST =
  'The server could not be reached. Check that it is still running and that you are connected, then try again.'
export const LOST_UPLOAD =
  'The connection was lost while the file was being sent. Nothing was stored; check the connection, then try again.'
const SERVER = 'The server had a fault of its own. Your files are not the cause; try again in a moment.'

function kindOf(status: number): ProblemKind {
  if (status === 401) return 'signed-out'
  if (status === 404 || status === 410) return 'gone'
  if (status === 429 || status === 503) return 'busy'
  return status >= 500 ? 'server' : 'refused'
}

function spoken(status: number, json: ProblemJson): string {
  if (json.detail) return json.detail
  if (json.what) return json.fix ? `${json.what}; ${json.fix}` : json.what
  if (status === 401) return 'The session has ended.'
  if (status === 404) return 'This case is not there any more.'
  if (status === 413) return 'The file is larger than the server accepts.'
  if (status === 429) return 'Too many requests in a short time; wait a moment, then try again.'
  if (status >= 500) return SERVER
  return json.title ?? `The server refused this (status ${status}).`
}

/** The problem in an answer's body, whatever the body is. */
export function problemOf(status: number, body: string): Problem {
  let json: ProblemJson = {}
  try {
    const parsed: unknown = JSON.parse(body)
    if (parsed && typeof parsed === 'object') json = parsed as ProblemJson
  } catch {
    // A proxy's HTML page, say: the status alone has to speak.
  }
  return new Problem(kindOf(status), spoken(status, json), status, json)
}

/** Any thrown thing as a problem. */
export function asProblem(error: unknown): Problem {
  if (error instanceof Problem) return error
  if (error instanceof DOMException && error.name === 'AbortError') return new Problem('cancelled', 'Cancelled.')
  if (error instanceof TypeError) return new Problem('network', LOST)
  return new Problem('server', `The page had a fault of its own: ${String(error)}`)
}
