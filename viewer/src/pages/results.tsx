/** A finished case: the viewer, then the numbers, the doubts, and the files. */
import { useSignal } from '@preact/signals'
import { useEffect } from 'preact/hooks'
import { asProblem } from '../api/errors'
import type { CaseOut, FileOut, SegmentationVersion } from '../api/types'
import { announce } from '../app/announce'
import { ml } from '../app/format'
import { Guarded } from '../app/guarded'
import { Act, Notice } from '../app/parts'
import { api, noteLoss, vocabulary } from '../app/state'
import { volumeOf } from '../app/vocabulary'
import { DownloadsCard } from './downloads'
import { AboutCard, ExpectedQuality, HarmonizationCard, QualityCard } from './facts'
import { SessionCard } from './session'
import { LazyViewer } from './viewer'
import { PostprocessCard, VolumesCard } from './volumes'

export function ResultsPage(props: { found: CaseOut; change: () => void }) {
  const { found } = props
  const table = vocabulary.value
  const files = useSignal<FileOut[]>([])
  const versions = useSignal<SegmentationVersion[]>([])
  const failed = useSignal('')
  const load = async () => {
    failed.value = ''
    try {
      const [all, masks] = await Promise.all([api.files(found.id), api.segmentations(found.id)])
      files.value = all
      versions.value = masks
    } catch (error) {
      try {
        noteLoss(error, found.id)
      } catch {
        failed.value = asProblem(error).message
      }
    }
  }
  useEffect(() => void load(), [found.id, found.run])
  if (!table) return null
  const corrected = versions.value.filter((entry) => entry.made_by === 'user').at(-1)
  const saved = () => {
    announce('Your correction is saved; the volumes are counted anew.')
    void load()
  }
  return (
    <div class="results" data-results={files.value.length ? 'ready' : 'loading'}>
      {found.tumour_found === false ? (
        <Notice tone="info" title="No tumour was found">
          That is a result, and like every result it can be wrong: look at the scans.
        </Notice>
      ) : (
        <p class="lead summary">
          {corrected && 'By the model: '}
          {corrected ? 'whole' : 'Whole'} tumour <strong>{ml(volumeOf(found.volumes_ml, 'WT').ml)} ml</strong>, tumour
          core <strong>{ml(volumeOf(found.volumes_ml, 'TC').ml)} ml</strong>.{' '}
          {corrected && (
            <>
              By your correction {corrected.version}: whole tumour{' '}
              <strong>{ml(volumeOf(corrected.volumes_ml, 'WT').ml)} ml</strong>, tumour core{' '}
              <strong>{ml(volumeOf(corrected.volumes_ml, 'TC').ml)} ml</strong>.{' '}
            </>
          )}
          {found.disclaimer}
        </p>
      )}
      {found.expected_quality && <ExpectedQuality expected={found.expected_quality} corrected={!!corrected} />}
      <section class="viewer" aria-labelledby="viewer-title">
        <h2 class="sr-only" id="viewer-title">
          Viewer
        </h2>
        <Guarded what="The viewer">
          <LazyViewer caseId={found.id} api={api} vocabulary={table} result={found} onSaved={saved} />
        </Guarded>
      </section>
      {failed.value && (
        <Notice tone="bad">
          <p>{failed.value}</p>
          <Act small act={load}>
            Try again
          </Act>
        </Notice>
      )}
      <div class="cards">
        <div class="half">
          <div class="column">
            <VolumesCard table={table} found={found} versions={versions.value} />
            <PostprocessCard table={table} done={found.postprocess} wanted={found.choice.postprocess !== false} />
          </div>
          <div class="column">
            <QualityCard flags={found.qc} />
            <HarmonizationCard table={table} done={found.harmonization} />
            <AboutCard table={table} found={found} />
          </div>
        </div>
        <div class="half">
          <div class="column">
            <DownloadsCard caseId={found.id} files={files.value} />
          </div>
          <div class="column">
            <section class="card" aria-labelledby="again-title">
              <h2 id="again-title">Run again</h2>
              <p>With another model, without cleaning, or with a better scan. The earlier result is replaced.</p>
              <button type="button" class="button" onClick={props.change} data-act="change">
                Change scans or options
              </button>
            </section>
            <SessionCard />
          </div>
        </div>
      </div>
    </div>
  )
}
