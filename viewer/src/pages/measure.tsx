/** The tab with the diameters of each lesion, of the mask that is current. */
import { type Signal, useSignal } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import { asProblem } from '../api/errors'
import type { CaseOut, FileOut } from '../api/types'
import {
  csvOf,
  type DiameterLines,
  type LesionNow,
  linesOf,
  type MeasuredNow,
  MOVED,
  type MovedEnds,
  measuredNow,
  wordsOf,
} from '../app/diameterlines'
import { ml, plural } from '../app/format'
import {
  factsName,
  type Measured,
  measurableWords,
  measuredOf,
  type Point,
  placeOf,
  ruleSentence,
} from '../app/measured'
import { Act, Notice } from '../app/parts'
import { saveFile } from '../app/save'
import { linesKept, putLines } from '../app/stash'
import { api, vocabulary } from '../app/state'

/** Lines this much off a right angle are told. */
const SQUARE_DEG = 5

function Line(props: { lesion: LesionNow; goTo: Signal<Point | null>; reset: (lesion: number) => void }) {
  const { lesion, goTo } = props
  const axial = lesion.planes.find(({ plane }) => plane === 'axial')
  return (
    <tr data-lesion={lesion.number} data-target={lesion.target} data-moved={lesion.moved}>
      <th scope="row">
        <button
          type="button"
          class="link"
          onClick={() => {
            goTo.value = placeOf(lesion)
          }}
        >
          <span class="sr-only">Show lesion </span>
          {lesion.number}
        </button>
      </th>
      <td class="number">
        {axial ? (
          <>
            <span class="nobreak" data-diameters>
              {axial.long.mm.toFixed(1)} × {axial.short.mm.toFixed(1)}
            </span>
            <span class="soft block nobreak small-text">{axial.product_mm2.toFixed(0)} mm²</span>
            {Math.abs(90 - axial.degrees) > SQUARE_DEG && (
              <span class="soft block small-text">at {axial.degrees.toFixed(0)}° to one another</span>
            )}
          </>
        ) : (
          '–'
        )}
        {lesion.moved && (
          <>
            <span class="block warn-text small-text">Moved by hand</span>
            <button
              type="button"
              class="link small-text"
              data-act="reset-lines"
              onClick={() => props.reset(lesion.number)}
            >
              Reset<span class="sr-only"> the lines of lesion {lesion.number} to the computed ones</span>
            </button>
          </>
        )}
      </td>
      <td class="number nobreak">{ml(lesion.ml)}</td>
      <td>
        {measurableWords(lesion)} {lesion.target && <span class="badge nobreak">Target</span>}
      </td>
    </tr>
  )
}

/** What can be done with the lines, and where moved ones are kept. */
function AboutLines({ measured }: { measured: MeasuredNow }) {
  const moved = measured.lesions.some((lesion) => lesion.moved)
  const save = () => {
    const name = moved ? 'lesions-moved-by-hand.csv' : 'lesions.csv'
    saveFile(new Blob([csvOf(measured)], { type: 'text/csv' }), name)
  }
  return (
    <>
      <p class="small-text">
        A lesion’s number leads to its slice, where its lines are drawn. Drag an end of a line, or choose it with Tab
        and move it with the arrow keys (Shift: further).
      </p>
      {moved && (
        <p class="notice warn small-text" data-moved-note>
          Lines that you moved are kept in this tab of the browser only, until it is reloaded or closed. The report and
          the files of this case keep the computed ones. Which lesions are targets stays as it was computed.
        </p>
      )}
      <p>
        <button type="button" class="button small" data-act="save-diameters" onClick={save}>
          Save as table (CSV)
        </button>
      </p>
    </>
  )
}

function Table(props: { measured: MeasuredNow; goTo: Signal<Point | null>; reset: (lesion: number) => void }) {
  const { measured, goTo, reset } = props
  const sums = measured.sumsMoved ? ` (lines ${MOVED})` : ''
  const docs = vocabulary.value?.links.docs?.replace(/index\.html$/, 'explanation/diameters.html')
  return (
    <>
      {measured.lesions.length === 0 ? (
        <p>No lesion is large enough to be measured.</p>
      ) : (
        <table class="plain measures">
          <thead>
            <tr>
              <th scope="col">No.</th>
              <th scope="col" class="number">
                Axial, mm
              </th>
              <th scope="col" class="number">
                ml
              </th>
              <th scope="col">Measurable</th>
            </tr>
          </thead>
          <tbody>
            {measured.lesions.map((lesion) => (
              <Line key={lesion.number} lesion={lesion} goTo={goTo} reset={reset} />
            ))}
          </tbody>
        </table>
      )}
      {measured.lesions.some(({ target }) => target) && (
        <dl class="facts">
          <dt>Sum of products</dt>
          <dd data-sum={measured.sum_of_products_mm2}>
            {measured.sum_of_products_mm2.toFixed(0)} mm²{sums}
          </dd>
          <dt>Sum of longest</dt>
          <dd>
            {measured.sum_of_longest_mm.toFixed(1)} mm{sums}
          </dd>
        </dl>
      )}
      {measured.lesions.length > 0 && <AboutLines measured={measured} />}
      <p class="soft small-text">
        {measured.smaller > 0 &&
          `${plural(measured.smaller, 'smaller part')} (below ${measured.rule.least_ml} ml) not measured. `}
        {ruleSentence(measured)} {docs && <a href={docs}>How lesions are measured</a>}
      </p>
    </>
  )
}

/** The lines that were moved of this mask, and how to change them; the page's stash has them while the tab is away. */
function useMoved(caseId: string, mask: string): [MovedEnds, (next: MovedEnds) => void] {
  const moved = useSignal<{ mask: string; ends: MovedEnds }>({ mask: '', ends: new Map() })
  if (moved.peek().mask !== mask)
    moved.value = { mask, ends: (linesKept(caseId, mask) as MovedEnds | undefined) ?? new Map() }
  const set = (ends: MovedEnds) => {
    moved.value = { mask, ends }
    putLines(caseId, mask, ends)
  }
  return [moved.value.ends, set]
}

export function MeasureTab(props: {
  found: CaseOut
  files: FileOut[]
  shown: boolean
  goTo: Signal<Point | null>
  lines: Signal<DiameterLines | null>
}) {
  const { found, files, shown, lines } = props
  const state = useSignal<{ name: string; measured: Measured | null; problem: string } | null>(null)
  const name = factsName(files, found.version)
  const [moved, setMoved] = useMoved(found.id, `${found.run} ${name}`)
  const load = async () => {
    if (!name) return
    try {
      const facts: unknown = JSON.parse(new TextDecoder().decode(await api.fileBytes(api.fileUrl(found.id, name))))
      state.value = { name, measured: measuredOf(facts), problem: '' }
    } catch (error) {
      state.value = { name, measured: null, problem: asProblem(error).message }
    }
  }
  // Only when it is looked at: every file that is fetched counts as a download.
  const wanted = shown && name !== null && state.value?.name !== name
  useEffect(() => {
    if (wanted) void load()
  }, [wanted, name])
  const now = state.value?.name === name ? state.value : null
  const measured = now?.measured ?? null
  const current = measured && measuredNow(measured, moved)
  useEffect(() => {
    lines.value = shown && measured && current ? drawn(measured, current, moved, setMoved) : null
  }, [shown, measured, moved])
  useEffect(
    () => () => {
      lines.value = null
    },
    [],
  )
  const reset = (lesion: number) => setMoved(new Map([...moved].filter(([key]) => !key.startsWith(`${lesion} `))))
  return (
    <section
      class="card"
      aria-labelledby="measure-title"
      data-measured={now ? (measured?.lesions.length ?? 'none') : 'loading'}
    >
      <h2 id="measure-title">Diameters of lesions</h2>
      {found.version > 0 && <p class="soft small-text">Of your correction {found.version}.</p>}
      {!now && <p role="status">Loading…</p>}
      {now?.problem && (
        <Notice tone="bad">
          <p>{now.problem}</p>
          <Act small act={load}>
            Try again
          </Act>
        </Notice>
      )}
      {now &&
        !now.problem &&
        (current ? (
          <Table measured={current} goTo={props.goTo} reset={reset} />
        ) : (
          <p>This result holds no diameters.</p>
        ))}
    </section>
  )
}

/** The lines for the pictures. */
function drawn(
  measured: Measured,
  current: MeasuredNow,
  moved: MovedEnds,
  set: (next: MovedEnds) => void,
): DiameterLines {
  return {
    lines: linesOf(measured, moved),
    words: (lesion, plane) => wordsOf(current, lesion, plane),
    move: (key, ends) => set(new Map(moved).set(key, ends)),
  }
}
