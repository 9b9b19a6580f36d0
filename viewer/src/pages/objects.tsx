/** The result as DICOM objects: the user gives the original series again, and gets them for the archive. */
import { useSignal } from '@preact/signals'
import { useRef } from 'preact/hooks'
import { asProblem } from '../api/errors'
import type { CaseOut } from '../api/types'
import { announce } from '../app/announce'
import { ChooseFolder } from '../app/choose'
import { dicomOf } from '../app/dicomfiles'
import { entriesOf, useDrop } from '../app/drop'
import { type Found, filesBelow, filesChosen } from '../app/folder'
import { Bar } from '../app/parts'
import { saveFile } from '../app/save'
import { api, noteLoss, vocabulary } from '../app/state'
import { titled } from '../app/titled'
import { sentenceOf, sequenceTitle } from '../app/vocabulary'

type Step = { doing: string; share: number }

export function DicomObjectsCard(props: { found: CaseOut }) {
  const { found } = props
  const step = useSignal<Step | null>(null)
  const problem = useSignal('')
  const stop = useRef<AbortController | null>(null)
  const make = async (read: () => Promise<readonly Found[]>) => {
    if (step.value) return
    const running = new AbortController()
    stop.current = running
    problem.value = ''
    const told = (doing: string) => (share: number) => {
      if (!running.signal.aborted) step.value = { doing, share }
    }
    told('Reading the folder…')(0)
    try {
      const files = await read()
      const only = files.length === 1 ? files[0]?.file : undefined
      const zip =
        only && /\.zip$/i.test(only.name)
          ? only
          : await (await import('../app/zip')).zipOf(await dicomOf(files), told('Reading the folder…'))
      if (running.signal.aborted) return
      const sending = { signal: running.signal, onShare: told('Sending…') }
      const made = await api.dicomObjects(found.id, zip, sending)
      saveFile(made, `case-${found.id.slice(0, 8)}-dicom.zip`)
      announce('The DICOM objects are made.')
    } catch (error) {
      if (running.signal.aborted) return
      try {
        noteLoss(error, found.id)
      } catch {
        problem.value = asProblem(error).message
      }
    } finally {
      if (stop.current === running) step.value = null
    }
  }
  const drop = useDrop((data) => {
    const entries = entriesOf(data)
    void make(() => filesBelow(entries))
    return true
  })
  const table = vocabulary.value
  if (!table?.features?.includes('dicom-objects')) return null
  const now = step.value
  return (
    <section
      class={`card objects ${drop.over.value ? 'over' : ''}`}
      aria-labelledby="objects-title"
      data-objects={now ? 'busy' : problem.value ? 'problem' : 'idle'}
      {...drop.on}
    >
      <h2 id="objects-title">For your archive (PACS)</h2>
      <p>
        The tumour’s parts as DICOM SEG, the figures as DICOM SR. Give the folder, or a zip, of the original
        {found.reference ? ` ${sequenceTitle(table, found.reference)}` : ''} series again: what is made carries its
        patient’s name and number.
      </p>
      <p class="soft small-text">The series and what is made of it are not kept on the server.</p>
      {now ? (
        <div class="stack tight">
          <Bar share={now.share} label="DICOM objects" indeterminate={now.share >= 1} />
          <div class="row">
            <span class="soft">{now.share >= 1 ? 'Being made…' : now.doing}</span>
            <button
              type="button"
              class="button small quiet"
              onClick={() => {
                stop.current?.abort()
                step.value = null
              }}
            >
              Stop
            </button>
          </div>
        </div>
      ) : (
        <div class="row">
          <ChooseFolder name="objects-folder" take={(files) => void make(async () => files)}>
            Choose the folder
          </ChooseFolder>
          <label class="button">
            Choose a zip
            <input
              class="sr-only"
              type="file"
              accept=".zip,application/zip"
              data-file="objects-zip"
              onChange={(event) => {
                const files = filesChosen([...(event.currentTarget.files ?? [])])
                event.currentTarget.value = ''
                if (files.length) void make(async () => files)
              }}
            />
          </label>
        </div>
      )}
      {problem.value && (
        <p class="act-failed" role="alert">
          {sentenceOf(titled(problem.value))}
        </p>
      )}
    </section>
  )
}
