"""What several test folders share. Import it by name; `tests/conftest.py` registers the fixtures once.

waiting    `until`, `until_async`: wait for a condition; the failure names what was awaited
events     `EventRecorder`: a reporter that keeps its events and may request a stop
folders    `use_home`: HOME, the XDG folders and the job engine's state below a folder of the tests
worker/    `scripted`: the one worker without a model; see its docstring for the script language.
           `code_worker`: the real worker with a kind whose work is Python code
interpreter  `make_interpreter`: an executable for `worker_python` that runs a script in place of the engine
disk       `small_disk`, `fill`: a small file system that a test fills up
jobs       `JobHarness`, fixtures `harness` and `state`: a local job service with the scripted worker
server     `JupyterServerProcess`: a `jupyter server` in its own process; `SCRIPTED_TOKEN`
postgres   `ON_BOTH`, fixtures `database_url`, `postgres_database`, `postgres_server`
models     fixtures `language_models`, `sentence_models`, `shared_folder`: tiny models, built once per run
           by `model_builder`, a process of its own
training   `PAIRS`, fixtures `tiny` and `pairs`: a tiny model that can be trained, and its data (import them)
teacher    `TeacherServer`, fixture `teacher_server`: an OpenAI-compatible teacher on loopback
"""
