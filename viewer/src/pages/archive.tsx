/** Studies of the archive that the operator has named: search, and take the scans of one into the case. */
import { useSignal } from '@preact/signals'
import { Problem } from '../api/errors'
import type { StudyFound } from '../api/schema'
import type { CaseOut } from '../api/types'
import { announce } from '../app/announce'
import { plural } from '../app/format'
import { Act } from '../app/parts'
import { ask } from '../app/questions'
import { api, noteLoss, reloadCase, vocabulary } from '../app/state'
import { type Asked, dayOf, moreThan, searchOf, sizeOf } from '../app/studies'

function Studies(props: { studies: StudyFound[]; take: (study: StudyFound) => Promise<void> }) {
  if (!props.studies.length) return <p role="status">No MR study was found.</p>
  const more = moreThan(props.studies)
  return (
    <>
      {more && <p role="status">{more}</p>}
      <ul class="studies" aria-label="Studies found" data-studies={props.studies.length}>
        {props.studies.map((study) => (
          <li key={study.uid} class="study">
            <span>
              <strong class="number">{dayOf(study.date)}</strong> <span class="soft number">{sizeOf(study)}</span>
            </span>
            <Act
              small
              act={() => props.take(study)}
              busy="Fetching…"
              label={`Take the study of ${dayOf(study.date)}, ${sizeOf(study)}`}
              name="take-study"
            >
              Take its scans
            </Act>
          </li>
        ))}
      </ul>
    </>
  )
}

export function ArchivePart(props: { found: CaseOut }) {
  const { found } = props
  const asked = useSignal<Asked>({ patient: '', from: '', to: '' })
  const studies = useSignal<StudyFound[] | null>(null)
  if (!vocabulary.value?.features?.includes('archive')) return null
  const search = async () => {
    studies.value = null
    const question = searchOf(asked.value)
    if (typeof question === 'string') throw new Problem('refused', question)
    try {
      studies.value = await api.findStudies(question)
      announce(`${studies.value.length} studies found.`)
    } catch (error) {
      noteLoss(error)
    }
  }
  const take = async (study: StudyFound) => {
    try {
      const taken = await api.pullStudy(found.id, study.uid)
      ask(found.id, taken.problem ?? '')
      studies.value = null
      announce(`${plural(taken.series.length, 'scan')} taken from the archive.`)
      await reloadCase(found.id)
    } catch (error) {
      noteLoss(error, found.id)
    }
  }
  const set = (key: keyof Asked) => (event: { currentTarget: HTMLInputElement }) => {
    asked.value = { ...asked.value, [key]: event.currentTarget.value }
  }
  const { patient, from, to } = asked.value
  return (
    <section class="dicom archive" aria-labelledby="archive-title" data-archive={studies.value?.length ?? 'none'}>
      <div>
        <h3 id="archive-title">Or from the archive (PACS)</h3>
        <p class="soft">
          Search by a patient’s number or by date. What you type and what is found is not kept; of a study that you
          take, its scans are, without names and dates.
        </p>
      </div>
      <form
        class="archive-form"
        onSubmit={(event) => {
          event.preventDefault()
          event.currentTarget.querySelector<HTMLElement>('[data-act=search-archive]')?.click()
        }}
      >
        <label class="field">
          <span>Patient’s number</span>
          <input
            type="text"
            autocomplete="off"
            maxLength={64}
            value={patient}
            name="patient"
            onInput={set('patient')}
          />
        </label>
        <label class="field">
          <span>From</span>
          <input type="date" value={from} name="from" onInput={set('from')} />
        </label>
        <label class="field">
          <span>To</span>
          <input type="date" value={to} name="to" onInput={set('to')} />
        </label>
        <Act act={search} busy="Searching…" name="search-archive">
          Search
        </Act>
      </form>
      {studies.value && <Studies studies={studies.value} take={take} />}
    </section>
  )
}
