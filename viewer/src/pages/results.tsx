/** A finished case on one screen: a headline, the pictures, and a side panel with everything else. */
import { useSignal } from '@preact/signals'
import type { ComponentChildren } from 'preact'
import { useEffect } from 'preact/hooks'
import { asProblem } from '../api/errors'
import type { CaseOut, FileOut, Vocabulary } from '../api/types'
import { announce } from '../app/announce'
import type { DiameterLines } from '../app/diameterlines'
import { Guarded } from '../app/guarded'
import type { Point } from '../app/measured'
import { Act, Notice } from '../app/parts'
import { quickLook } from '../app/quicklook'
import { asksToLook } from '../app/remarks'
import type { SideTab } from '../app/sidetabs'
import { api, noteLoss, reloadCase, vocabulary } from '../app/state'
import { tellTabs } from '../app/tabs'
import { DownloadsCard } from './downloads'
import { AboutCard, ExpectedQuality, HarmonizationCard, QualityCard } from './facts'
import { Headline } from './headline'
import { LazyTab } from './lazytab'
import { DicomObjectsCard } from './objects'
import { SessionCard } from './session'
import { LazyViewer } from './viewer'
import { PostprocessCard, VolumesCard } from './volumes'

function QualityTab(props: { table: Vocabulary; found: CaseOut; corrected: boolean }) {
  const { table, found } = props
  return (
    <>
      {found.tumour_found === false && (
        <Notice tone="info" title="No tumour was found">
          That is a result, and like every result it can be wrong: look at the scans.
        </Notice>
      )}
      <QualityCard flags={found.qc} />
      {found.expected_quality && <ExpectedQuality expected={found.expected_quality} corrected={props.corrected} />}
      <PostprocessCard table={table} done={found.postprocess} wanted={found.choice.postprocess !== false} />
      <HarmonizationCard table={table} done={found.harmonization} />
      <AboutCard table={table} found={found} />
    </>
  )
}

function FilesTab(props: {
  found: CaseOut
  files: FileOut[]
  failed: string
  load: () => Promise<void>
  change: () => void
}) {
  return (
    <>
      {props.failed && (
        <Notice tone="bad">
          <p>{props.failed}</p>
          <Act small act={props.load}>
            Try again
          </Act>
        </Notice>
      )}
      <DownloadsCard found={props.found} files={props.files} />
      <DicomObjectsCard found={props.found} />
      <section class="card" aria-labelledby="again-title">
        <h2 id="again-title">Run again</h2>
        <p>With another model, without cleaning, or with a better scan. The earlier result is replaced.</p>
        <button type="button" class="button" onClick={props.change} data-act="change">
          Change scans or options
        </button>
      </section>
      <SessionCard />
    </>
  )
}

export function ResultsPage(props: {
  found: CaseOut
  title: ComponentChildren
  actions: ComponentChildren
  change: () => void
}) {
  const { found } = props
  const table = vocabulary.value
  const files = useSignal<FileOut[]>([])
  const failed = useSignal('')
  const tab = useSignal('labels')
  const goTo = useSignal<Point | null>(null)
  const lines = useSignal<DiameterLines | null>(null)
  const load = async () => {
    failed.value = ''
    try {
      files.value = await api.files(found.id)
    } catch (error) {
      try {
        noteLoss(error, found.id)
      } catch {
        failed.value = asProblem(error).message
      }
    }
  }
  useEffect(() => void load(), [found.id, found.run, found.version])
  if (!table) return null
  const { version, volumes_ml: volumes } = found
  const saved = () => {
    announce('Your correction is saved; the volumes are counted anew.')
    tellTabs('changed')
    void reloadCase(found.id).catch((error: unknown) => {
      failed.value = asProblem(error).message
    })
  }
  const quick = quickLook(files.value, version)
  const worrying = found.qc.filter(asksToLook).length
  const tabs: SideTab[] = [
    {
      key: 'quality',
      title: 'Quality',
      count: { number: worrying, of: 'to look at' },
      body: <QualityTab table={table} found={found} corrected={version > 0} />,
    },
    {
      key: 'measure',
      title: 'Measure',
      body: (
        <LazyTab
          fetch={async () => (await import('./measure')).MeasureTab}
          shown={tab.value === 'measure'}
          with={{ found, files: files.value, shown: tab.value === 'measure', goTo, lines }}
        />
      ),
    },
    {
      key: 'compare',
      title: 'Compare',
      body: (
        <LazyTab
          fetch={async () => (await import('./compare')).CompareTab}
          shown={tab.value === 'compare'}
          with={{ found }}
        />
      ),
    },
    {
      key: 'files',
      title: 'Files',
      body: <FilesTab found={found} files={files.value} failed={failed.value} load={load} change={props.change} />,
    },
  ]
  return (
    <>
      <header class="case-head">
        {props.title}
        <Headline found={found} volumes={volumes} version={version} tab={tab} />
        {props.actions}
      </header>
      <div class="results" data-results={files.value.length ? 'ready' : 'loading'}>
        <section class="viewer" aria-labelledby="viewer-title">
          <h2 class="sr-only" id="viewer-title">
            Viewer
          </h2>
          <Guarded what="The viewer">
            <LazyViewer
              caseId={found.id}
              api={api}
              vocabulary={table}
              result={found}
              onSaved={saved}
              tabs={tabs}
              tab={tab}
              goTo={goTo}
              lines={lines}
              quick={quick && api.fileUrl(found.id, quick, true)}
              numbers={<VolumesCard table={table} found={found} volumes={volumes} version={version} />}
            />
          </Guarded>
        </section>
      </div>
    </>
  )
}
