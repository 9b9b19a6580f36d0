/** What this is, the terms, and the two ways in. */
import { type Signal, useSignal } from '@preact/signals'
import type { Vocabulary } from '../api/types'
import { announce } from '../app/announce'
import { roughly } from '../app/format'
import { Act, Notice, Swatch } from '../app/parts'
import { chosenModel, notice, openSession, vocabulary } from '../app/state'
import { ReceiptCard } from './receipt'
import { runSample, startOwn } from './ways'

export function Terms(props: { table: Vocabulary; agreed: Signal<boolean> }) {
  return (
    <div class="terms">
      <h2 id="terms-title">Before you begin</h2>
      <ul class="terms-list">
        {props.table.terms.map((sentence) => (
          <li key={sentence}>{sentence}</li>
        ))}
      </ul>
      <label class="tick strong">
        <input
          type="checkbox"
          checked={props.agreed.value}
          onChange={(event) => {
            props.agreed.value = event.currentTarget.checked
          }}
          data-act="agree"
        />
        <span>I have read this and agree</span>
      </label>
    </div>
  )
}

/** How long it takes, and which model answers. */
function About(props: { table: Vocabulary }) {
  const usual = props.table.stages.reduce((sum, stage) => sum + stage.usual_seconds, 0)
  const model = chosenModel(null)
  return (
    <p class="soft" data-about="">
      A case takes {roughly(usual)} where this was measured, on two processor cores.
      {model &&
        ` Model: ${model.title || model.id}${model.version ? `, version ${model.version}` : ''}${model.licence ? `, ${model.licence}` : ''}.`}
    </p>
  )
}

export function StartPage() {
  const table = vocabulary.value
  const agreed = useSignal(false)
  const asked = useSignal(false)
  if (!table) return null
  const open = (then: () => Promise<void>) => async () => {
    if (!agreed.value) {
      asked.value = true
      announce('Tick the box above first.')
      return
    }
    await openSession()
    await then()
  }
  return (
    <div class="start" data-page="start">
      <ReceiptCard />
      {notice.value && <Notice tone="info">{notice.value}</Notice>}
      <section class="hero">
        <h1>Tumour parts and their volumes, from the MRI of a child’s brain</h1>
        <p class="lead">
          Four sequences in, as NIfTI or straight from the scanner as DICOM. Out comes a mask on your own scan, volumes
          in millilitres with an interval, a picture and a report, which you can look at, correct, download and delete.
        </p>
        <ul class="chips" aria-label="Tumour parts that are marked">
          {table.labels.map((label) => (
            <li key={label.key}>
              <Swatch colour={label.colour} />
              {label.name} <span class="soft">({label.key})</span>
            </li>
          ))}
        </ul>
        <About table={table} />
      </section>
      <section class="card" aria-labelledby="terms-title">
        <Terms table={table} agreed={agreed} />
        {asked.value && !agreed.value && (
          <p class="act-failed" role="alert" id="terms-first">
            Tick the box first: nothing is done without your agreement.
          </p>
        )}
        <div class="ways">
          <div class="way">
            <Act kind="primary" act={open(startOwn)} busy="Opening…" name="own">
              Use my own scans
            </Act>
            <p class="soft">NIfTI files or a zip with DICOM files. Names are read in your browser only.</p>
          </div>
          <div class="way">
            <Act act={open(runSample)} busy="Making a sample case…" name="sample">
              Try a synthetic sample case
            </Act>
            <p class="soft">Made up by a computer, no patient’s scan. Starts by itself.</p>
          </div>
        </div>
      </section>
    </div>
  )
}
