import time

from ssljax.runs.progress import Progress


def make(monkeypatch, **options):
    clock = [0.0]
    monkeypatch.setattr(time, "perf_counter", lambda: clock[0])
    settings = dict(total=100, start=20, batch_size=32, quiet=False) | options
    return Progress(settings.pop("total"), settings.pop("start"), **settings), clock


def test_the_first_record_has_the_start_up_time_and_no_rate(monkeypatch, capsys):
    progress, clock = make(monkeypatch)
    clock[0] = 12.0
    rates = progress.rates(21)
    assert rates == {"startup_seconds": 12.0}
    progress.show(21, {"epoch": 0.5, "loss": 1.25} | rates)
    line = capsys.readouterr().out
    assert line == "step 21/100, epoch 0.5, started in 12 s, loss 1.2500\n"


def test_rates_exclude_time_spent_on_monitoring(monkeypatch, capsys):
    progress, clock = make(monkeypatch)
    progress.rates(21)
    clock[0], _ = 10.0, progress.exclude(6.0)
    progress.waited(1.0)
    rates = progress.rates(31)
    # 10 steps of 32 images in 10 - 6 seconds.
    assert rates == {"images_per_second": 80.0, "input_wait": 0.25}
    progress.show(31, {"epoch": 0.5, "spectrum/effective_rank": 3.0} | rates)
    line = capsys.readouterr().out
    assert "80 images/s, input wait 25 %, 0:27 left, rank 3.0" in line
    clock[0] = 11.0
    assert progress.rates(32)["images_per_second"] == 32.0


def test_a_log_file_gets_a_line_every_five_seconds_and_the_last(monkeypatch, capsys):
    progress, clock = make(monkeypatch, total=100)
    for second in range(1, 13):
        clock[0] = 10.0 + second
        step = 20 + second if second < 12 else 100
        progress.show(step, {"epoch": 1.0} | progress.rates(step))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(",")[0] for line in lines] == [
        "step 21/100",
        "step 26/100",
        "step 31/100",
        "step 100/100",
    ]


def test_a_quiet_run_prints_nothing(monkeypatch, capsys):
    progress, clock = make(monkeypatch, quiet=True)
    clock[0] = 9.0
    progress.show(100, {"epoch": 1.0} | progress.rates(100))
    assert capsys.readouterr().out == ""
