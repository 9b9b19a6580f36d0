/** The frame around every page: header, disclaimer, cases, the page, footer, live region. */
import { useSignalEffect } from '@preact/signals'
import { useEffect, useRef } from 'preact/hooks'
import type { CaseOut } from './api/types'
import { spoken } from './app/announce'
import { reachable } from './app/connection'
import { watchOthers } from './app/follow'
import { caseName } from './app/format'
import { Guarded } from './app/guarded'
import { Act, Notice } from './app/parts'
import { caseHash, followAddress, route } from './app/route'
import {
  api,
  begin,
  cases,
  currentCase,
  endedElsewhere,
  refresh,
  session,
  signOut,
  startProblem,
  vocabulary,
  whoami,
} from './app/state'
import { tellTabs, watchTabs } from './app/tabs'
import { stateTitle } from './app/vocabulary'
import { CasePage } from './pages/case'
import { HomePage } from './pages/home'
import { SignIn } from './pages/signin'
import { StartPage } from './pages/start'

const NEWEST = 5
const DEFAULT_DISCLAIMER = 'Research use only. Not a medical device.'

function CaseLink(props: { found: CaseOut; here: boolean }) {
  const table = vocabulary.value
  const link = useRef<HTMLAnchorElement>(null)
  useEffect(() => {
    // In a row that is too long for the screen the case on show must not lie outside.
    if (props.here) link.current?.scrollIntoView?.({ block: 'nearest', inline: 'nearest' })
  }, [props.here])
  return (
    <a
      ref={link}
      class="case-link"
      href={caseHash(props.found.id)}
      aria-current={props.here ? 'page' : undefined}
      data-state={props.found.state}
    >
      <span class="dot" aria-hidden="true" />
      {caseName(props.found)}
      <span class="case-link-state">{table ? stateTitle(table, props.found.state) : props.found.state}</span>
    </a>
  )
}

/** The newest cases, and the one on show: all of them stand in the list of cases. */
const recent = (shown: string | undefined): CaseOut[] =>
  cases.value.filter((found, at) => at >= cases.value.length - NEWEST || found.id === shown)

function Header() {
  const shown = currentCase.value
  const at = route.value
  return (
    <header class="top">
      <div class="top-row">
        <a class="brand" href="#/" aria-label="HOPE, start page">
          <svg viewBox="0 0 32 32" width="30" height="30" aria-hidden="true">
            <rect class="brand-ground" width="32" height="32" rx="8" />
            <path class="brand-mark" d="M9 7v18M23 7v18M9 16h14" />
            <circle class="brand-dot" cx="16" cy="16" r="3.6" />
          </svg>
          <span>HOPE</span>
        </a>
        {session.value && cases.value.length > 0 && (
          <nav class="cases" aria-label="Cases">
            <a class="case-link" href="#/" aria-current={at.page === 'home' ? 'page' : undefined}>
              All cases
            </a>
            {recent(shown?.id).map((found) => (
              <CaseLink key={found.id} found={found} here={shown?.id === found.id} />
            ))}
          </nav>
        )}
      </div>
      <p class="disclaimer">{vocabulary.value?.disclaimer ?? DEFAULT_DISCLAIMER}</p>
    </header>
  )
}

/** What there is to read. The banner says the disclaimer on every page, the terms once more on the first. */
function Links() {
  const links = vocabulary.value?.links
  return (
    <nav class="links" aria-label="To read">
      {links?.docs && <a href={links.docs}>Documentation</a>}
      {links?.model_card && <a href={links.model_card}>Model card</a>}
      <a href="/licences.md">Licences</a>
      <a href="/openapi.json">REST interface</a>
    </nav>
  )
}

function Page() {
  if (startProblem.value) {
    return (
      <section class="narrow" data-page="problem">
        <h1>The page could not start</h1>
        <Notice tone="bad">{startProblem.value.message}</Notice>
        <Act kind="primary" act={begin} busy="Trying…">
          Try again
        </Act>
      </section>
    )
  }
  if (!vocabulary.value || session.value === undefined)
    return (
      <p class="loading" role="status">
        Loading…
      </p>
    )
  if (session.value === null) return whoami.value?.authenticated === false ? <SignIn /> : <StartPage />
  if (route.value.page === 'case') {
    const shown = currentCase.value
    if (shown) return <CasePage key={shown.id} found={shown} />
    return (
      <section class="narrow" data-page="unknown">
        <h1>There is no such case</h1>
        <p>It may have been deleted, or belong to another session.</p>
        <a class="button primary" href="#/">
          To all cases
        </a>
      </section>
    )
  }
  return <HomePage />
}

export function App() {
  useEffect(() => {
    followAddress()
    void begin()
    const leave = () => {
      if (!session.value?.close_with_page) return
      api.leave()
      tellTabs('left')
    }
    // A page that comes back from the browser's memory says that it is in use again.
    const back = (event: PageTransitionEvent) => {
      if (event.persisted) void begin()
    }
    addEventListener('pagehide', leave)
    addEventListener('pageshow', back)
    const unwatch = watchOthers(() => currentCase.value?.id ?? null)
    const untab = watchTabs(() => void refresh(), endedElsewhere)
    return () => {
      removeEventListener('pagehide', leave)
      removeEventListener('pageshow', back)
      unwatch()
      untab()
    }
  }, [])
  useSignalEffect(() => {
    const shown = currentCase.value
    const table = vocabulary.value
    document.title = shown && table ? `${caseName(shown)}: ${stateTitle(table, shown.state)} · HOPE` : 'HOPE'
  })
  // A new page begins at its top, also for whoever hears it; the first one leaves the focus to the browser.
  const page = route.value.page === 'case' ? route.value.key : 'home'
  const shown = useRef(page)
  useEffect(() => {
    if (shown.current === page) return
    shown.current = page
    scrollTo(0, 0)
    document.getElementById('main')?.focus({ preventScroll: true })
  }, [page])
  const ready = startProblem.value ? 'problem' : vocabulary.value && session.value !== undefined ? 'true' : 'false'
  return (
    <div class="frame" data-ready={ready} data-session={session.value ? 'open' : 'none'}>
      {/* biome-ignore lint/a11y/useValidAnchor: the part after # is the route, so the jump is made by hand */}
      <a
        class="skip"
        href="#main"
        onClick={(event) => {
          event.preventDefault()
          document.getElementById('main')?.focus()
        }}
      >
        Skip to the content
      </a>
      <div class="screen">
        <Header />
        <main id="main" tabIndex={-1}>
          <p class="away" role="status" data-away={!reachable.value}>
            {!reachable.value &&
              'The server does not answer. What it has is safe with it; this page asks again every two seconds and goes on as soon as it is there.'}
          </p>
          <Guarded key={page} what="This page">
            <Page />
          </Guarded>
        </main>
      </div>
      <footer class="bottom">
        {session.value && <p>{vocabulary.value?.disclaimer ?? DEFAULT_DISCLAIMER}</p>}
        <p>HOPE {vocabulary.value?.version}</p>
        <Links />
        {whoami.value?.method === 'oidc' && (
          <Act kind="quiet" small act={signOut} name="sign-out">
            Sign out
          </Act>
        )}
      </footer>
      <div class="sr-only" role="status" aria-live="polite" data-spoken="">
        {spoken.value}
      </div>
    </div>
  )
}
