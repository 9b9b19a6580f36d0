/** Which page is shown: the part of the address after #, which no server ever sees. */
import { signal } from '@preact/signals'

export type Route = { page: 'home' } | { page: 'case'; key: string }

export function parseRoute(hash: string): Route {
  const found = /^#\/case\/([A-Za-z0-9._~-]+)$/.exec(hash)
  return found?.[1] ? { page: 'case', key: found[1] } : { page: 'home' }
}

export const caseHash = (caseId: string): string => `#/case/${caseId}`

export const route = signal<Route>({ page: 'home' })

export function followAddress(): void {
  const read = () => {
    route.value = parseRoute(location.hash)
  }
  addEventListener('hashchange', read)
  read()
}

/** Go home and leave no trace of a deleted case in the address. */
export function goHome(): void {
  history.replaceState(null, '', `${location.pathname}${location.search}#/`)
  route.value = { page: 'home' }
}

export function goCase(caseId: string): void {
  if (location.hash !== caseHash(caseId)) location.hash = caseHash(caseId)
}
