/** A case in work, or one that did not come to an end: stage by stage, with signs of life. */
import { useRef } from 'preact/hooks'
import type { CaseOut, StageOut } from '../api/types'
import { begunAt, linked, runKey } from '../app/follow'
import { ago, duration, percent, roughly } from '../app/format'
import { askPermission, permission } from '../app/notify'
import { Act, Bar, Notice } from '../app/parts'
import {
  expectedSeconds,
  lastSeen,
  secondsLeft,
  shownStages,
  type Told,
  tellLeft,
  toldStep,
  wholeShare,
} from '../app/progress'
import { api, cancelCase, cases, inWork, noteLoss, now, runCase, session, vocabulary } from '../app/state'
import { titled } from '../app/titled'
import { stageTitle } from '../app/vocabulary'

const MARK: Record<string, string> = { waiting: '', running: '', done: '✓', failed: '!', cancelled: '–' }
const SAID: Record<string, string> = {
  waiting: 'waiting',
  running: 'in work',
  done: 'done',
  failed: 'failed',
  cancelled: 'cancelled',
}

function side(stage: StageOut, live: boolean): string {
  if (stage.state === 'running' && live) return percent(stage.share)
  if (stage.state === 'done' && stage.seconds) return duration(stage.seconds)
  if (stage.state === 'waiting' && !live) return 'not reached'
  return SAID[stage.state] ?? ''
}

function StageLine(props: { stage: StageOut; number: number; live: boolean }) {
  const { stage } = props
  const table = vocabulary.value
  const title = table ? stageTitle(table, stage.stage) : stage.title
  const running = stage.state === 'running' && props.live
  return (
    <li class="stage" data-stage={stage.stage} data-state={stage.state} aria-current={running ? 'step' : undefined}>
      <span class="stage-mark" aria-hidden="true">
        {MARK[stage.state] || props.number}
      </span>
      <div class="stage-body">
        <p class="stage-title">
          {title} <span class="sr-only">: {SAID[stage.state]}</span>
        </p>
        {running && <Bar share={stage.share} label={title} />}
        {running && stage.message && <p class="soft">{titled(toldStep(stage.message))}</p>}
        {stage.attempts > 1 && <p class="soft">Begun {stage.attempts} times: an earlier try was interrupted.</p>}
      </div>
      <span class="stage-side number">{side(stage, props.live)}</span>
    </li>
  )
}

function Pulse(props: { found: CaseOut }) {
  const seen = lastSeen(props.found.stages)
  if (!linked.value) {
    return (
      <p class="pulse lost" role="status">
        The connection to the server is lost; trying again. The work goes on without this page.
      </p>
    )
  }
  if (props.found.state === 'queued') return <p class="pulse">Waiting for its turn.</p>
  if (seen === null) return <p class="pulse">Beginning…</p>
  const since = Math.max(0, now.value - seen)
  return (
    <p class={`pulse ${since > 20 ? 'late' : ''}`} data-seen-at={seen}>
      <span class="pulse-dot" aria-hidden="true" /> Last sign of life {ago(since)}
      {since > 20 && '. If the work has stopped, it is begun again by itself.'}
    </p>
  )
}

function Working(props: { found: CaseOut }) {
  const { found } = props
  const share = wholeShare(found.stages)
  const spent = found.stages.reduce((sum, stage) => sum + (stage.seconds ?? 0), 0)
  const begun = begunAt.value[runKey(found)]
  const elapsed = begun ? Math.max(0, now.value - begun) : spent
  const told = useRef<Told | undefined>(undefined)
  if (found.state === 'running' && share < 1)
    told.current = tellLeft(told.current, secondsLeft(found.stages, expectedSeconds(found, cases.value)), now.value)
  const left = found.state === 'running' && share < 1 ? told.current?.left : undefined
  const cancel = async () => {
    try {
      await cancelCase(found.id)
    } catch (error) {
      noteLoss(error, found.id)
    }
  }
  return (
    <>
      <div class="whole">
        <p class="whole-share number" data-share={share.toFixed(3)}>
          {percent(share)}
        </p>
        <div class="whole-bar">
          <Bar share={share} label="The whole run" indeterminate={found.state === 'queued'} />
          <p class="soft number">
            {duration(elapsed)} so far{left !== undefined && ` · ${roughly(left)} left`}
          </p>
        </div>
      </div>
      <Pulse found={found} />
      <div class="row">
        <Act act={cancel} busy="Stopping…" name="cancel">
          Cancel
        </Act>
        {permission.value === 'default' && (
          <Act kind="quiet" act={askPermission} name="notify-me">
            Tell me when it is done
          </Act>
        )}
      </div>
      <p class="soft">
        {session.value?.close_with_page
          ? 'You can reload this page. If you close it, the work is stopped and everything is deleted, as you chose.'
          : 'You can close or reload this page: the work goes on, and this page finds it again.'}
      </p>
    </>
  )
}

function Ended(props: { found: CaseOut; change: () => void }) {
  const { found } = props
  const again = async () => {
    try {
      await runCase(found.id, found.choice)
    } catch (error) {
      noteLoss(error, found.id)
    }
  }
  const failed = found.state === 'failed'
  return (
    <>
      {failed ? (
        <Notice
          tone="bad"
          title={found.problem_is_ours ? 'Something went wrong on our side' : 'This case could not be finished'}
        >
          <p data-problem="">{titled(found.problem) || 'The server gave no reason.'}</p>
          <p>
            {found.problem_is_ours
              ? 'Your scans are probably not the cause. Starting again may help; if not, send the diagnostics to whoever runs this server.'
              : 'Change the scans or the options, then start again.'}
          </p>
        </Notice>
      ) : (
        <Notice tone="info">This run was cancelled. The scans are still here.</Notice>
      )}
      <div class="row">
        <button type="button" class="button primary" onClick={props.change} data-act="change">
          Change scans or options
        </button>
        <Act act={again} busy="Starting…" name="again">
          Start again as it is
        </Act>
        <a
          class="button quiet"
          href={api.diagnosticsUrl(found.id)}
          download={`hope-case-${found.number}-diagnostics.json`}
        >
          Download diagnostics
        </a>
      </div>
      {failed && <p class="soft">Diagnostics hold states, times and software versions; no names, no images.</p>}
    </>
  )
}

export function ProgressPage(props: { found: CaseOut; change: () => void }) {
  const { found } = props
  const working = inWork(found)
  return (
    <section class="card progress" aria-labelledby="progress-title">
      <h2 id="progress-title">{working ? 'In work' : 'What happened'}</h2>
      {working ? <Working found={found} /> : <Ended found={found} change={props.change} />}
      <ol class="stages">
        {shownStages(found).map((stage, index) => (
          <StageLine key={stage.stage} stage={stage} number={index + 1} live={working} />
        ))}
      </ol>
    </section>
  )
}
