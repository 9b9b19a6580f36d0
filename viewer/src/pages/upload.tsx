/** Scans in: four slots, a DICOM zip, options, and start. */
import { useSignal } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import { asProblem } from '../api/errors'
import type { CaseOut, RunChoice, SequenceKey } from '../api/types'
import { announce } from '../app/announce'
import { type Checked, check, checksOf, scansOf } from '../app/checks'
import { dicomOf } from '../app/dicomfiles'
import { entriesOf, useDrop } from '../app/drop'
import { type Found, filesBelow, filesChosen } from '../app/folder'
import { plural } from '../app/format'
import { guessAll } from '../app/guess'
import { whatIsMissing } from '../app/needs'
import { Act, Bar, Notice } from '../app/parts'
import { asksToLook, badgeOf, wordOf, worstFirst } from '../app/remarks'
import { chosenModel, noteLoss, runCase, vocabulary } from '../app/state'
import { titled } from '../app/titled'
import { sentenceOf, sequenceTitle } from '../app/vocabulary'
import { ArchivePart } from './archive'
import { DicomPart } from './dicom'
import { Options } from './options'
import { SlotCard } from './slot'
import { send, sendDicomFiles, uploading } from './uploads'
import { fillWithSample, making } from './ways'

const MOST_ASKED = 3

interface Unplaced {
  file: File
  why: string
}

function Leftovers(props: {
  left: Unplaced[]
  place: (file: File, slot: SequenceKey) => void
  drop: (file: File) => void
}) {
  const table = vocabulary.value
  if (!table || !props.left.length) return null
  return (
    <Notice tone="warn" title="Not placed yet">
      <ul class="leftovers">
        {props.left.map(({ file, why }) => (
          <li key={`${file.name}-${file.size}`}>
            <span class="file-name">{file.name}</span>
            <span class="block">{why}</span>
            <span class="row">
              {/\.nii(\.gz)?$/i.test(file.name) && (
                <select
                  aria-label={`${file.name} is`}
                  value=""
                  onChange={(event) => {
                    const slot = table.sequences.find((entry) => entry.key === event.currentTarget.value)
                    if (slot) props.place(file, slot.key)
                  }}
                >
                  <option value="">This is…</option>
                  {table.sequences.map((entry) => (
                    <option key={entry.key} value={entry.key}>
                      {entry.title}
                    </option>
                  ))}
                </select>
              )}
              <button type="button" class="button small quiet" onClick={() => props.drop(file)}>
                Leave out
              </button>
            </span>
          </li>
        ))}
      </ul>
    </Notice>
  )
}

/** What was found in the scans together, worst first. */
function Checks(props: { checks: Checked }) {
  const { state, problem, remarks } = props.checks
  const worrying = worstFirst(remarks).filter(asksToLook)
  return (
    <div data-checks={state} data-refused={state === 'done' && problem !== ''}>
      {state === 'asking' && (
        <p class="soft" role="status">
          <span class="spinner" aria-hidden="true" /> Checking the scans…
        </p>
      )}
      {state === 'failed' && (
        <Notice tone="warn">The scans could not be checked; the run will check them. {problem}</Notice>
      )}
      {state === 'done' && problem && (
        <Notice tone="bad" title="These scans cannot be used as they are">
          {sentenceOf(titled(problem))}
        </Notice>
      )}
      {worrying.length > 0 && (
        <Notice tone="warn" title="Look at these scans before you start">
          <ul class="flags">
            {worrying.map((flag) => (
              <li key={`${flag.code}-${flag.reason}`} data-flag={flag.code}>
                <span class={badgeOf(flag)}>{wordOf(flag)}</span>
                <span>{titled(flag.reason)}</span>
              </li>
            ))}
          </ul>
        </Notice>
      )}
    </div>
  )
}

export function UploadPage(props: { found: CaseOut }) {
  const { found } = props
  const table = vocabulary.value
  const choice = useSignal<RunChoice>({ ...found.choice })
  const left = useSignal<Unplaced[]>([])
  const ignored = useSignal('')
  useEffect(() => {
    // A file dropped beside the area must not replace the page.
    const ignore = (event: DragEvent) => event.preventDefault()
    addEventListener('dragover', ignore)
    addEventListener('drop', ignore)
    return () => {
      removeEventListener('dragover', ignore)
      removeEventListener('drop', ignore)
    }
  }, [])
  const scans = scansOf(found)
  const busy = uploading(found.id)
  useEffect(() => {
    if (!busy) void check(found)
  }, [scans, busy])
  const drop = useDrop((data) => {
    const entries = entriesOf(data)
    void walk(() => filesBelow(entries))
    return true
  })
  if (!table) return null

  const take = (files: File[]) => {
    const rest: Unplaced[] = []
    const filled = found.series.map((entry) => entry.sequence as SequenceKey)
    for (const { file, guess } of guessAll(files, filled)) {
      if (guess.slot) void send(found.id, guess.slot, file)
      else rest.push({ file, why: guess.why })
    }
    left.value = [...left.value, ...rest]
    announce(`${files.length - rest.length} of ${files.length} files placed by their names.`)
  }
  /** Scans by their names; DICOM files together as one zip, with one sentence on what is neither. */
  const walk = async (read: () => Promise<readonly Found[]>) => {
    try {
      const all = (await read()).filter(({ file }) => !file.name.startsWith('.'))
      const scans = all.filter(({ file }) => /\.(nii(\.gz)?|zip)$/i.test(file.name))
      const unnamed = all.filter((one) => !scans.includes(one))
      const dicom = await dicomOf(unnamed)
      const rest = unnamed.filter(({ file }) => !dicom.includes(file))
      // A file or two that somebody chose are asked about; what else lies in a folder is not.
      const asked = rest.length > MOST_ASKED ? [] : rest.filter(({ path }) => !path.includes('/'))
      if (scans.length + asked.length) take([...scans, ...asked].map(({ file }) => file))
      if (dicom.length) void sendDicomFiles(found.id, dicom)
      const others = rest.length - asked.length
      ignored.value = others && !(dicom.length + scans.length) ? 'No scan was found in what was dropped.' : ''
      if (others) announce(`${plural(others, 'file')} left out: no scans.`)
    } catch (error) {
      ignored.value = asProblem(error).message
    }
  }
  const unleft = (file: File) => {
    left.value = left.value.filter((entry) => entry.file !== file)
  }
  const model = chosenModel(choice.value.model)
  const needs = whatIsMissing(table, model, found.series)
  const sending = busy
  const checks = checksOf(found)
  const blockers = sending
    ? ['Files are still being sent.']
    : [
        ...needs.blockers,
        ...(checks?.state === 'asking' ? ['The scans are being checked.'] : []),
        ...(checks?.state === 'done' && checks.problem ? [sentenceOf(titled(checks.problem))] : []),
      ]
  const run = async () => {
    try {
      await runCase(found.id, choice.value)
    } catch (error) {
      noteLoss(error, found.id)
    }
  }
  const sampleState = making.value[found.id]
  if (sampleState === '') {
    return (
      <section class="card making" data-view="making">
        <h2>Making a synthetic case</h2>
        <p>The first one takes up to a minute; it starts by itself as soon as it is there.</p>
        <Bar share={0} indeterminate label="Making a synthetic case" />
      </section>
    )
  }
  return (
    <section class={`upload ${drop.over.value ? 'over' : ''}`} aria-labelledby="upload-title" {...drop.on}>
      {sampleState && (
        <Notice tone="bad" title="The synthetic case could not be made">
          <p>{sampleState}</p>
          <Act small act={() => fillWithSample(found.id)}>
            Try again
          </Act>
        </Notice>
      )}
      <div class="section-head">
        <div>
          <h2 id="upload-title">Scans</h2>
          <p class="soft">
            Drop all files, or a folder, anywhere here: scans find their places by their names, which never leave your
            browser.
          </p>
        </div>
        <label class="button">
          Choose several files
          <input
            class="sr-only"
            type="file"
            multiple
            data-file="many"
            onChange={(event) => {
              const files = filesChosen([...(event.currentTarget.files ?? [])])
              void walk(async () => files)
              event.currentTarget.value = ''
            }}
          />
        </label>
      </div>
      {ignored.value && <Notice tone="warn">{ignored.value}</Notice>}
      <Leftovers
        left={left.value}
        drop={unleft}
        place={(file, slot) => {
          unleft(file)
          void send(found.id, slot, file)
        }}
      />
      <div class="slots">
        {table.sequences.map((entry) => (
          <SlotCard key={entry.key} found={found} entry={entry} />
        ))}
      </div>
      {checks && <Checks checks={checks} />}
      <DicomPart found={found} />
      <ArchivePart found={found} />
      <div class="card start-card">
        <Options choice={choice} />
        <div class="start-row">
          <Act kind="primary" act={run} busy="Starting…" blocked={blockers.length > 0} describedBy="needs" name="start">
            {found.run ? 'Start again' : 'Start'}
          </Act>
          <div id="needs" class="needs" data-blocked={blockers.length > 0}>
            {blockers.map((sentence) => (
              <p key={sentence}>{sentence}</p>
            ))}
            {!blockers.length && needs.absent.length > 0 && (
              <p class="warn-text">
                Without {needs.absent.map((key) => sequenceTitle(table, key)).join(', ')}: the result will be less
                certain, and will say so.
              </p>
            )}
            {!blockers.length && !needs.absent.length && (
              <p>
                {checks?.state === 'done' ? 'All four scans are there and fit together.' : 'All four scans are there.'}
              </p>
            )}
          </div>
        </div>
        {found.run > 0 && <p class="soft">Starting again replaces the earlier result of this case.</p>}
        {!found.series.length && !sending && (
          <p class="soft">
            No scans at hand?{' '}
            <button type="button" class="link" onClick={() => void fillWithSample(found.id)} data-act="fill-sample">
              Fill this case with synthetic ones.
            </button>
          </p>
        )}
      </div>
    </section>
  )
}
