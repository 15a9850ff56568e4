"""Which task may begin when: stages that do nothing, and a graph that is told what has ended."""

from __future__ import annotations

from dataclasses import replace

from core.jobs.tasks import Task, TaskState
from worker.context.stage import Grain, Output, Stage
from worker.pipeline.graph import Graph
from worker.stages.catalogue import catalogue


def stage(name_: str, *needs_: str, grain_: Grain = Grain.JOB, stored_: bool = True) -> Stage:
    class Nothing(Stage):
        name, needs, grain, stored = name_, needs_, grain_, stored_

        def run(self, work, task):
            return Output()

    return Nothing()


ALL = catalogue(
    stage("beside", "decode"),
    stage("touch", "transcribe", grain_=Grain.CHUNK),
    stage("say", "touch", grain_=Grain.SEGMENT),
)
FEW = ("align", "diarize", "enhance", "known_speakers", "spoken_translation", "translation")  # not every job has them
STAGES = [stage for stage in ALL if stage.name not in FEW]
DUE = ("decode", "assemble")


def chunks(*numbers: int, **changes) -> list[Task]:
    return [replace(Task(stage="transcribe", number=n), **changes) for n in numbers]


def names(graph: Graph) -> list[str]:
    return [
        f"{task.stage} {task.number}" if stage.grain is not Grain.JOB else task.stage for stage, task in graph.ready()
    ]


def run(graph: Graph, *wanted: str) -> None:
    for text in wanted:
        name, _, number = text.partition(" ")
        (task,) = [t for _, t in graph.ready() if (t.stage, t.number) == (name, int(number or 0))]
        graph.start(task)
        graph.end(replace(task, state=TaskState.DONE))


def start(graph: Graph, name: str) -> Task:
    (task,) = [task for _, task in graph.ready() if task.stage == name]
    graph.start(task)
    return task


def test_the_walk_of_a_job() -> None:
    graph = Graph(STAGES, due=DUE)
    assert names(graph) == ["source"]
    start(graph, "source")
    assert names(graph) == ["decode"], "it reads along with the source"
    start(graph, "decode")
    assert names(graph) == ["plan", "beside"]
    plan = start(graph, "plan")
    graph.add(chunks(0, 1))
    assert names(graph) == ["language", "beside"]
    run(graph, "language")
    assert names(graph) == ["transcribe 0", "beside"]
    first, second = start(graph, "transcribe"), start(graph, "transcribe")
    graph.end(replace(second, state=TaskState.DONE))
    assert names(graph) == ["beside", "touch 1"], "a chunk goes on without those before it"
    graph.end(replace(first, state=TaskState.FAILED))
    graph.end(plan)
    graph.close("transcribe")
    assert not graph.only_the_end_is_left
    run(graph, "touch 1", "touch 0", "beside")
    graph.add([Task(stage="say", number=n) for n in range(2)])
    assert names(graph) == ["say 0"]
    run(graph, "say 0", "say 1")
    assert names(graph) == [] and not graph.only_the_end_is_left, "more segments may come"
    graph.close("say")
    assert graph.only_the_end_is_left and names(graph) == ["assemble"] and not graph.complete
    run(graph, "assemble")
    assert not graph.complete, "the decoder has not ended, and the duration is wanted"
    graph.end(Task(stage="decode"))
    assert graph.complete


def test_sound_is_cleaned_before_anybody_looks_for_speech() -> None:
    graph = Graph([stage for stage in ALL if stage.name != "beside"], due=DUE)
    start(graph, "source")
    start(graph, "decode")
    assert names(graph) == ["enhance"]
    start(graph, "enhance")
    assert names(graph) == ["plan", "diarize"], "they read along"


def test_what_is_done_is_not_given_out_again_and_nothing_is_decoded_for_it() -> None:
    done = [
        *chunks(0, 1, state=TaskState.DONE),
        Task(stage="beside", state=TaskState.DONE),
        *(Task(stage="touch", number=n, state=TaskState.DONE) for n in range(2)),
    ]
    graph = Graph([s for s in STAGES if s.name not in ("plan", "language")], done, due=("assemble",))
    graph.add(chunks(0, 1))
    graph.close("transcribe")
    assert names(graph) == [], "of segments nobody knows yet"
    graph.add([Task(stage="say", number=0)])
    graph.close("say")
    assert names(graph) == ["say 0"]
    run(graph, "say 0", "assemble")
    assert graph.complete


def test_suspects_of_a_crash_come_last_and_alone() -> None:
    stored = [*chunks(0, crashes=2), *chunks(1), *chunks(2, crashes=1), Task(stage="beside")]
    graph = Graph([s for s in STAGES if s.name not in ("plan", "language", "say")], stored, due=("assemble",))
    graph.add(stored[:3])
    start(graph, "source")
    start(graph, "decode")
    one = start(graph, "transcribe")
    assert one.number == 1 and names(graph) == ["beside"]
    graph.end(replace(one, state=TaskState.DONE))
    run(graph, "touch 1")
    beside = start(graph, "beside")
    graph.close("transcribe")
    assert names(graph) == [], "not while something else is in flight"
    graph.end(replace(beside, state=TaskState.DONE))
    assert names(graph) == ["transcribe 2"], "the one that has seen fewer crashes"
    two = start(graph, "transcribe")
    assert names(graph) == []
    graph.end(replace(two, state=TaskState.DONE))
    assert names(graph) == ["touch 2"]
    run(graph, "touch 2")
    assert names(graph) == ["transcribe 0"]


def test_what_was_somebody_elses_is_offered_again() -> None:
    graph = Graph([s for s in STAGES if s.name not in ("plan", "language")], due=("assemble",))
    graph.add(chunks(0))
    start(graph, "source")
    start(graph, "decode")
    task = start(graph, "transcribe")
    assert "transcribe 0" not in names(graph)
    graph.put_back(task)
    assert "transcribe 0" in names(graph)
