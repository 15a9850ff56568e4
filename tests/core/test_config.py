"""Settings: sources, units, refusals that name the variable, and warnings for names that are nearly ours."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from core.config.files import ConfigError
from core.config.loading import load, misspelt, remarks
from core.config.settings import Settings
from core.keys import DEFAULT_SCOPES, NO_LIMITS
from core.store.database import open_database


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_defaults_are_the_contract():
    s = load()
    assert (s.api_host, s.api_port, s.whisper_model, s.max_parallel_workers, s.whisper_threads) == (
        "127.0.0.1",
        8000,
        "base",
        0,
        0,
    )
    assert (s.max_concurrent_jobs, s.chunk_duration, s.chunk_strategy, s.chunk_timeout) == (2, 28, "vad", 0)
    assert (s.max_upload_mb, s.max_audio_hours, s.max_queued_jobs, s.max_attempts) == (4096, 24, 0, 3)
    assert (s.lease_seconds, s.sweep_seconds, s.retention_hours, s.log_level, s.log_format) == (
        60,
        5,
        0,
        "INFO",
        "text",
    )
    assert s.use_parallel_transcription is True and s.database.startswith("sqlite:///") and s.broker is None
    assert s.work_path == s.data_dir / "work" and s.models_path == s.data_dir / "models"


def test_empty_means_default_and_environment_wins(tmp_path, monkeypatch):
    (tmp_path / "parascribe.toml").write_text('whisper_model = "small"\nmax_attempts = 5\napi_port = 9001\n')
    (tmp_path / ".env").write_text("WHISPER_MODEL=medium\nMAX_PARALLEL_WORKERS=\nAPI_PORT=9002\n")
    monkeypatch.setenv("API_PORT", "9003")
    s = load()
    assert (s.whisper_model, s.max_attempts, s.api_port, s.max_parallel_workers) == ("medium", 5, 9003, 0)


def test_languages_in_the_toml_file_are_a_list(tmp_path):
    (tmp_path / "parascribe.toml").write_text('languages = ["de-CH", "fra"]\n')
    assert load().languages == ["de", "fr"]
    (tmp_path / "parascribe.toml").write_text('languages = ["de", 5, ["fr"]]\n')
    with pytest.raises(ConfigError, match=r"LANGUAGES: no language that Whisper knows: 5, \['fr'\]"):
        load()


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("CHUNK_TIMEOUT", "5min", 300.0),
        ("RETENTION_HOURS", "90min", 1.5),
        ("RETENTION_HOURS", "2d", 48.0),
        ("MAX_UPLOAD_MB", "1GB", 1024.0),
        ("LEASE_SECONDS", "1500ms", None),
        ("LEASE_SECONDS", "30", 30.0),
        ("MAX_UPLOAD_MB", "0.5 gib", 512.0),
        ("MODEL_BASE_URL", "http://a/x, http://b", ["http://a/x", "http://b"]),
        ("LANGUAGES", "de,EN", ["de", "en"]),
        ("LANGUAGES", "de-DE, deu,German, zh_yue-HK,,nb", ["de", "yue", "no"]),
        ("LANGUAGES", " ", []),
        ("MODEL_SOURCES", "packages, hub", ["packages", "hub"]),
        ("MODEL_SOURCES", "", ["mirror", "bucket", "hub", "packages"]),
    ],
)
def test_units_and_lists(monkeypatch, name, value, expected):
    monkeypatch.setenv(name, value)
    if expected is None:
        with pytest.raises(ConfigError, match=name):
            load()
    else:
        assert getattr(load(), name.lower()) == expected


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("MAX_PARALLEL_WORKERS", "many"),
        ("MAX_PARALLEL_WORKERS", "-1"),
        ("CHUNK_DURATION", "31"),
        ("CHUNK_DURATION", "5 parsecs"),
        ("CHUNK_STRATEGY", "magic"),
        ("LOG_LEVEL", "LOUD"),
        ("LOG_LEVEL", "INFO,worker=LOUD"),
        ("DATABASE_URL", "mysql://x"),
        ("BROKER_URL", "amqp://x"),
        ("USE_PARALLEL_TRANSCRIPTION", "perhaps"),
        ("LANGUAGES", "de,klingon"),
        ("LANGUAGES", "auto"),
        ("LANGUAGES", "de;en"),
        ("MODEL_SOURCES", "hub,huub"),
        ("MODEL_SOURCES", "hub,packages,hub"),
    ],
)
def test_nonsense_is_refused_by_name(monkeypatch, name, value):
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=name):
        load()


def test_what_would_have_no_effect_is_refused(monkeypatch):
    monkeypatch.setenv("ENCODER_CONTEXT", "fit")
    assert load().encoder_context == "fit"
    monkeypatch.setenv("WHISPER_EXECUTABLE", "/usr/bin/whisper-cli")
    with pytest.raises(ConfigError, match="ENCODER_CONTEXT"):
        load()


def test_figures_of_a_consumer_have_a_port_of_their_own(monkeypatch):
    monkeypatch.setenv("API_PORT", "9000")
    monkeypatch.setenv("METRICS_PORT", "9000")
    with pytest.raises(ConfigError, match="METRICS_PORT is the API's port too"):
        load()
    monkeypatch.setenv("METRICS_PORT", "9001")
    assert (load().metrics_host, load().metrics_port) == ("127.0.0.1", 9001)


def test_secrets_stay_out_of_messages_and_reprs(monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "mysql://user:hunter2@host/db")
    with pytest.raises(ConfigError) as refused:
        load()
    assert "hunter2" not in str(refused.value)
    monkeypatch.setenv("DATABASE_URL", "postgresql://user:hunter2@host/db")
    assert "hunter2" not in repr(load()) and load().database == "postgresql+psycopg://user:hunter2@host/db"
    monkeypatch.setenv("MINIO_ENDPOINT", "host:9000")
    with pytest.raises(ConfigError, match="MINIO_ACCESS_KEY"):
        load()


KEY, OTHER = (f"psk_{letter * 8}_{letter * 32}" for letter in "ab")


def test_keys_and_their_limits(monkeypatch):
    assert load().known_keys == () and load().key_limits == NO_LIMITS
    monkeypatch.setenv("API_KEYS", f" anna:{KEY}, the lab : {OTHER},")
    monkeypatch.setenv("LIMIT_AUDIO_SECONDS_PER_DAY", "2h")
    monkeypatch.setenv("LIMIT_UPLOAD_MB", "1GB")
    first, second = load().known_keys
    assert (first.id, first.owner, first.scopes) == ("aaaaaaaa", "anna", DEFAULT_SCOPES) and second.owner == "the lab"
    assert (load().key_limits.audio_seconds_per_day, load().key_limits.upload_mb) == (7200.0, 1024.0)
    assert KEY not in repr(load()) and "a" * 32 not in repr(load())


@pytest.mark.parametrize(
    "value", ["anna", f"anna:{KEY}x", KEY, f":{KEY}", f"anna:{KEY},bert", f"anna:{KEY},bert:{KEY}", f"anna={KEY}"]
)
def test_bad_keys_are_refused_and_not_shown(monkeypatch, value):
    monkeypatch.setenv("API_KEYS", value)
    with pytest.raises(ConfigError, match="API_KEYS") as refused:
        load()
    assert "a" * 32 not in str(refused.value)


def test_secrets_come_out_of_files(tmp_path, monkeypatch):
    (tmp_path / "keys").write_text(f"anna:{KEY}\nbert:{OTHER}\n")
    (tmp_path / "database").write_text("postgresql://me:hunter2@host/db\n")
    (tmp_path / "secret").write_text(" of the bucket ")
    (tmp_path / ".env").write_text("DATABASE_URL_FILE=database\nminio_access_key=me\nMINIO_ENDPOINT=host:9000\n")
    (tmp_path / "parascribe.toml").write_text('MINIO_SECRET_KEY_FILE = "secret"\n')
    monkeypatch.setenv("API_KEYS_FILE", str(tmp_path / "keys"))
    settings = load()
    assert [key.owner for key in settings.known_keys] == ["anna", "bert"]
    assert settings.database == "postgresql+psycopg://me:hunter2@host/db"
    assert settings.minio_secret_key.get_secret_value() == "of the bucket"
    assert remarks(settings) == []
    for name, value in settings.environment().items():
        monkeypatch.setenv(name, value)
    assert load().database == settings.database and load().known_keys == settings.known_keys, "as children have them"


def test_the_stronger_source_wins_and_in_one_source_a_secret_is_given_once(tmp_path, monkeypatch):
    (tmp_path / "database").write_text("postgresql://of-the-file")
    (tmp_path / ".env").write_text("DATABASE_URL_FILE=database\n")
    assert load().database == "postgresql+psycopg://of-the-file"
    monkeypatch.setenv("DATABASE_URL", "postgresql://of-the-environment")
    assert load().database == "postgresql+psycopg://of-the-environment"
    monkeypatch.setenv("DATABASE_URL_FILE", "database")
    with pytest.raises(ConfigError, match="DATABASE_URL and DATABASE_URL_FILE are both set"):
        load()


@pytest.mark.parametrize("content", [None, b"\xff\xfe\0", b"mysql://me:hunter2@host"])
def test_a_file_without_a_good_secret_is_refused(tmp_path, monkeypatch, content):
    if content is not None:
        (tmp_path / "file").write_bytes(content)
    monkeypatch.setenv("DATABASE_URL_FILE", "file")
    with pytest.raises(ConfigError, match="DATABASE_URL") as refused:
        load()
    assert "hunter2" not in str(refused.value)


def test_nearly_ours_is_warned_of(tmp_path):
    (tmp_path / ".env").write_text("WHISPR_MODEL=base\n#MAX_ATEMPTS=3\n")
    assert misspelt({"MAX_PARALEL_WORKERS": "3", "PATH": "/bin", "HOME": "/"}) == {
        "MAX_PARALEL_WORKERS": "MAX_PARALLEL_WORKERS"
    }
    assert misspelt() == {"WHISPR_MODEL": "WHISPER_MODEL"}


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        (".env", "WHISPER_MODEL=small\n".encode("utf-16"), r"\.env is UTF-16"),
        (".env", "WHISPER_MODEL=small\n".encode("utf-16-le"), r"\.env is UTF-16"),
        (".env", b"WHISPER_MODEL=small\0\n", r"\.env is UTF-16 or no text"),
        (".env", "API_PORT=1\n# größer\n".encode("latin-1"), r"\.env, line 2: byte 0xf6 is not UTF-8"),
        (".env", b"API_PORT=x\n", r"API_PORT: .*it is 'x', in \.env"),
        ("parascribe.toml", b'whisper_model = "small\n', r"parascribe\.toml: .*line 1"),
        ("parascribe.toml", b'whisper_model = "gr\xf6\xdfe"\n', r"parascribe\.toml, line 1: byte 0xf6"),
        ("parascribe.toml", b'API_PORT = "x"\n', r"API_PORT: .*it is 'x', in parascribe\.toml"),
        ("parascribe.toml", b'data_dir = "a\\u0000b"\n', r"DATA_DIR: holds a NUL"),
    ],
)
def test_what_is_wrong_with_a_file_is_one_line_that_names_it(tmp_path, name, content, said):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(ConfigError, match=said) as refused:
        load()
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("name", [".env", "parascribe.toml"])
def test_a_file_that_cannot_be_read_is_named(tmp_path, name):
    (tmp_path / name).symlink_to("/proc/self/mem")  # opens, and has an I/O error where it begins
    with pytest.raises(ConfigError, match=f"{name} cannot be read"):
        load()


@pytest.mark.parametrize(
    "content",
    [
        b"\xef\xbb\xbfWHISPER_MODEL=small\nMAX_ATTEMPTS=7\n",
        b"whisper_model=small\r\nMax_Attempts=7\r\n",
        b"export WHISPER_MODEL='small'\nMAX_ATTEMPTS = 7\n",
    ],
)
def test_what_is_taken_is_not_warned_of(tmp_path, content):
    (tmp_path / ".env").write_bytes(content)
    assert (load().whisper_model, load().max_attempts, misspelt(), remarks(load())) == ("small", 7, {}, [])


def test_toml_names_are_taken_in_any_case_and_unknown_ones_are_named(tmp_path):
    (tmp_path / "parascribe.toml").write_bytes(
        b'\xef\xbb\xbfWHISPER_MODEL = "small"\ndata_dir = ""\nwhispr_model = "x"\n[server]\nport = 1\n'
    )
    assert (load().whisper_model, load().data_dir) == ("small", Settings.model_fields["data_dir"].default)
    assert remarks(load()) == [
        "whispr_model is no setting; did you mean WHISPER_MODEL?",
        "server in parascribe.toml is no setting",
    ]


def test_what_has_no_effect_is_remarked(tmp_path):
    (tmp_path / ".env").mkdir()
    (tmp_path / "parascribe.toml").symlink_to("nowhere")
    folder, link, gpu = remarks(load(gpu_devices="0,1"))
    assert folder.startswith(".env is a folder") and link.startswith("parascribe.toml is a link to nothing")
    assert gpu.startswith("GPU_DEVICES: ")


def test_paths_are_filled_in_as_a_shell_does(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    monkeypatch.delenv("NOSUCH", raising=False)
    for given, path in {
        "~": "/home/me",
        "~/data": "/home/me/data",
        "$HOME/x": "/home/me/x",
        "/a/${HOME}": "/a//home/me",
        "./~/x": "~/x",
        "/a$NOSUCH/b": "/a$NOSUCH/b",
    }.items():
        (tmp_path / ".env").write_text(f"DATA_DIR='{given}'\n")
        assert load().data_dir == Path(path)
    for given in ("$NOSUCH/x", "~nosuch/x"):
        with pytest.raises(ConfigError, match="DATA_DIR: .* stands for nothing"):
            load(data_dir=given)


@pytest.mark.parametrize(
    "name", ["50%", "a%3Fb", "what?", "a?b=c#d", "with space", 'it\'s "so"', "größe", "caf\udce9", "up/../down"]
)
def test_the_database_lies_in_the_data_folder_whatever_that_is_called(tmp_path, name):
    settings = load(data_dir=tmp_path / name)
    database = open_database(settings.database)
    database.migrate()
    database.close()
    assert (tmp_path / name / "parascribe.db").stat().st_size > 0


def test_without_a_home_engine_builds_lie_with_the_data(monkeypatch):
    monkeypatch.setenv("HOME", "~")  # to `expanduser` the same as no HOME and no entry among the users
    monkeypatch.delenv("XDG_DATA_HOME", raising=False)
    assert load().engine_path == load().data_dir / "engine"


def test_defaults_of_jobs_are_those_of_the_table_of_options(monkeypatch, tmp_path):
    assert load().job_defaults == {} and load().priority_age_seconds == 600
    monkeypatch.setenv(
        "JOB_DEFAULTS", '{"language": "German", "word_timestamps": true, "workers": "2", "prompt": null}'
    )
    assert load().job_defaults == {"language": "de", "word_timestamps": True, "workers": 2}
    for name, value in load().environment().items():
        monkeypatch.setenv(name, value)
    assert load().job_defaults == {"language": "de", "word_timestamps": True, "workers": 2}
    monkeypatch.delenv("JOB_DEFAULTS")
    (tmp_path / "parascribe.toml").write_text('[job_defaults]\npriority = "bulk"\n')
    assert load().job_defaults == {"priority": "bulk"}


@pytest.mark.parametrize(
    ("value", "said"),
    [
        ("{", "expected a JSON object"),
        ("[]", "expected a JSON object"),
        ('"bulk"', "expected a JSON object"),
        ('{"model": "small"}', "model: name it in WHISPER_MODEL"),
        ('{"enhance": "vocals"}', "enhance: vocals is not available"),
        ('{"melody": 1}', "melody: Extra inputs are not permitted"),
        ('{"workers": 0, "priority": "high"}', "priority: Input should be .*workers: Input should be greater"),
        ('{"chunk_duration": 31}', "chunk_duration: Input should be less than or equal to 30"),
        ('{"language": "klingon"}', "language: not a language Whisper knows"),
    ],
)
def test_bad_defaults_of_jobs_are_refused_at_the_start(monkeypatch, value, said):
    monkeypatch.setenv("JOB_DEFAULTS", value)
    with pytest.raises(ConfigError, match=f"^JOB_DEFAULTS: {said}"):
        load()


def test_a_child_process_gets_the_same_settings(monkeypatch, tmp_path):
    before = load(
        max_attempts=7,
        model_base_url=["http://a", "http://b"],
        use_parallel_transcription=False,
        data_dir=tmp_path / "d",
    )
    for name, value in before.environment().items():
        monkeypatch.setenv(name, value)
    after = load()
    assert after.model_dump() == before.model_dump() | {"data_dir": tmp_path / "d"}


def test_every_setting_says_what_it_is():
    assert all(field.description and len(field.description) > 10 for field in Settings.model_fields.values())
    assert os.environ.get("WHISPER_MODEL") is None


@pytest.mark.parametrize("value", ["", "*", "10.0.0.1", "10.0.0.1, 172.16.0.0/12, ::1"])
def test_proxies_are_addresses_and_networks(value, monkeypatch):
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", value)
    assert load().forwarded_allow_ips == (value or "127.0.0.1")


@pytest.mark.parametrize("value", ["proxy.lan", "10.0.0.1/8", "10.0.0.1;10.0.0.2"])
def test_what_is_no_proxy_is_refused(value, monkeypatch):
    monkeypatch.setenv("FORWARDED_ALLOW_IPS", value)
    with pytest.raises(ConfigError, match="FORWARDED_ALLOW_IPS"):
        load()


def test_settings_of_older_set_ups_are_taken_or_named(tmp_path, monkeypatch):
    monkeypatch.setenv("USE_PROCESS_POOL", "true")
    monkeypatch.setenv("GPU_MEMORY_OPTIMIZATION", "1")
    (tmp_path / "parascribe.toml").write_text("max_workers = 5\n")
    assert load().max_parallel_workers == 5
    called, pool, gpu = remarks(load())
    assert called == "MAX_WORKERS is called MAX_PARALLEL_WORKERS here"
    assert pool.startswith("USE_PROCESS_POOL has no effect") and gpu.startswith("GPU_MEMORY_OPTIMIZATION has no effect")
    (tmp_path / ".env").write_text("max_workers=4\n")
    assert load().max_parallel_workers == 4
    monkeypatch.setenv("MAX_WORKERS", "3")
    assert load().max_parallel_workers == 3
    (tmp_path / ".env").write_text("MAX_PARALLEL_WORKERS=2\n")
    assert load().max_parallel_workers == 2 and load(max_parallel_workers=1).max_parallel_workers == 1
    assert remarks(load())[0].endswith("here, which is set too and comes first")


def test_what_is_wrong_with_a_setting_of_older_set_ups_names_it(tmp_path, monkeypatch):
    monkeypatch.setenv("MAX_WORKERS", "many")
    with pytest.raises(ConfigError, match="MAX_PARALLEL_WORKERS: .*'many', set as MAX_WORKERS"):
        load()
