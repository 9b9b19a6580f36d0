/** What the page knows, as signals. All of it is in memory only, and forgotten when the session ends. */
import { batch, computed, effect, signal } from '@preact/signals'
import { Api } from '../api/client'
import { asProblem, type Problem } from '../api/errors'
import type { CaseOut, ModelOut, Receipt, RunChoice, SessionOut, Vocabulary, WhoAmI } from '../api/types'
import { announce } from './announce'
import { noteReach, reachable } from './connection'
import { keepEnd, keptEnd, lossSentence } from './known'
import { goHome, route } from './route'
import { forget as forgetDrawing, remember as rememberDrawing } from './stash'
import { tellTabs } from './tabs'

export const api = new Api()
api.onReach = (up) => noteReach(up, api.alive)

export const vocabulary = signal<Vocabulary | null>(null)
export const whoami = signal<WhoAmI | null>(null)
export const models = signal<ModelOut[]>([])
/** undefined: not asked yet; null: there is none. */
export const session = signal<Omit<SessionOut, 'cases' | 'token'> | null | undefined>(undefined)
export const cases = signal<CaseOut[]>([])
/** Why the page itself could not start. */
export const startProblem = signal<Problem | null>(null)
/** Said once on the start page: the session ended, a case is gone. */
export const notice = signal('')
/** The receipt of the last deletion, until it is put away. */
export const receipt = signal<Receipt | null>(null)
/** Seconds since 1970 by the server's clock, once a second. */
export const now = signal(Date.now() / 1000)

export const currentCase = computed<CaseOut | null>(() => {
  const at = route.value
  return at.page === 'case' ? (cases.value.find((entry) => entry.id === at.key) ?? null) : null
})

export const inWork = (found: CaseOut): boolean => found.state === 'queued' || found.state === 'running'

/** The model that a run with this choice uses. */
export const chosenModel = (id: string | null | undefined): ModelOut | undefined =>
  models.value.find((entry) => entry.id === id) ?? models.value.find((entry) => entry.default) ?? models.value[0]

setInterval(() => {
  now.value = Date.now() / 1000 + api.clockSkew
}, 1000)

function takeSession(found: SessionOut): void {
  const { cases: all, token: _token, ...rest } = found
  batch(() => {
    session.value = rest
    cases.value = all
  })
  keepEnd(rest.expires_at)
}

/** A case on show: what was said on the start page is read. */
effect(() => {
  if (route.value.page === 'case') {
    notice.value = ''
    receipt.value = null
  }
})

/** The server is back: what failed for want of it is tried again. */
let wasReachable = true
effect(() => {
  const up = reachable.value
  if (up && !wasReachable) void (startProblem.peek()?.kind === 'network' ? begin() : refresh())
  wasReachable = up
})

let listed = new Set<string>()

/** However a case leaves the list, its unsaved drawing goes with it. */
effect(() => {
  const here = new Set(cases.value.map((entry) => entry.id))
  for (const caseId of listed) if (!here.has(caseId)) forgetDrawing(caseId)
  for (const caseId of here) rememberDrawing(caseId)
  listed = here
})

/** Put a case that was just told in its place. */
export function takeCase(found: CaseOut): void {
  const known = cases.value.some((entry) => entry.id === found.id)
  cases.value = known ? cases.value.map((entry) => (entry.id === found.id ? found : entry)) : [...cases.value, found]
}

export function changeCase(caseId: string, change: (found: CaseOut) => CaseOut): void {
  cases.value = cases.value.map((entry) => (entry.id === caseId ? change(entry) : entry))
}

/** Why there is no session any more; nothing where this tab never had one. */
function sayLoss(problem: Problem): void {
  const said = lossSentence(problem.json.type?.endsWith('session-ended') ?? false, keptEnd(), now.peek())
  if (said) notice.value = said
}

/** Another tab ended the session. */
export function endedElsewhere(): void {
  if (!session.value) return
  notice.value = lossSentence(true, now.peek(), now.peek())
  forget()
}

function forget(): void {
  keepEnd(null)
  session.value = null
  cases.value = []
  goHome()
}

/** Ask for all that the first picture needs; a session that is still there comes back with its cases. */
export async function begin(): Promise<void> {
  startProblem.value = null
  try {
    const [table, who] = await Promise.all([api.vocabulary(), api.whoami()])
    vocabulary.value = table
    whoami.value = who
    void learnModels()
    try {
      takeSession(await api.session())
    } catch (error) {
      const problem = asProblem(error)
      if (problem.kind !== 'signed-out' && problem.kind !== 'gone') throw problem
      sayLoss(problem)
      forget()
    }
  } catch (error) {
    startProblem.value = asProblem(error)
  }
}

/** Look again at what there is, without a word if nothing changed: another tab may have changed it. */
export async function refresh(): Promise<void> {
  if (session.value === undefined) return
  try {
    const asked = cases.value
    const found = await api.session()
    // A case was made or told of while the answer was on its way: the answer may be older than that, ask again.
    if (asked !== cases.value) return void refresh()
    takeSession(found)
  } catch (error) {
    try {
      noteLoss(error)
    } catch {
      // Not reachable just now: whatever is done next will tell.
    }
  }
}

export async function learnModels(): Promise<void> {
  try {
    models.value = await api.models()
  } catch {
    // The choice of models is then left to the server; the run itself will tell what is wrong.
    models.value = []
  }
}

export async function openSession(): Promise<void> {
  takeSession(await api.openSession())
  tellTabs('changed')
  notice.value = ''
  receipt.value = null
}

export async function changeSession(change: Parameters<Api['changeSession']>[0]): Promise<void> {
  takeSession(await api.changeSession(change))
}

/** Ask for a case again; gone cases leave the list. */
export async function reloadCase(caseId: string): Promise<void> {
  try {
    takeCase(await api.case(caseId))
  } catch (error) {
    noteLoss(error, caseId)
  }
}

/** Sessions and cases may end elsewhere: say so and clean up. Other problems are thrown on. */
export function noteLoss(error: unknown, caseId?: string): void {
  const problem = asProblem(error)
  if (problem.kind === 'signed-out') {
    sayLoss(problem)
    forget()
  } else if (problem.kind === 'gone' && caseId) {
    cases.value = cases.value.filter((entry) => entry.id !== caseId)
    if (route.value.page === 'case' && route.value.key === caseId) {
      notice.value = 'That case is not there any more.'
      goHome()
    }
  } else if (problem.kind !== 'cancelled') throw problem
}

/**
 * As `noteLoss` after a call on two cases, whose answer does not tell which of them is gone: the other one leaves the
 * list too. Returns whether it was the other one.
 */
export async function noteLossOfEither(error: unknown, caseId: string, otherId: string): Promise<boolean> {
  const problem = asProblem(error)
  if (problem.kind !== 'gone') {
    noteLoss(problem, caseId)
    return false
  }
  await reloadCase(caseId)
  if (!cases.value.some((entry) => entry.id === caseId)) return false
  if (!otherId) throw problem
  cases.value = cases.value.filter((entry) => entry.id !== otherId)
  return true
}

export async function deleteCase(caseId: string): Promise<void> {
  const told = await api.deleteCase(caseId)
  tellTabs('changed')
  cases.value = cases.value.filter((entry) => entry.id !== caseId)
  receipt.value = told
  announce('The case is deleted.')
  goHome()
}

/** Start a case, here and for the other tabs. */
export async function runCase(caseId: string, choice: RunChoice): Promise<void> {
  takeCase(await api.run(caseId, choice))
  tellTabs('changed')
}

/** Stop a case, here and for the other tabs. */
export async function cancelCase(caseId: string): Promise<void> {
  takeCase(await api.cancel(caseId))
  tellTabs('changed')
}

export async function signOut(): Promise<void> {
  await api.signOut()
  await begin()
}

export async function deleteSession(): Promise<void> {
  const told = await api.deleteSession()
  tellTabs('ended')
  forget()
  api.accessToken = ''
  receipt.value = told
  announce('Everything is deleted.')
}
