"""Pretrained weights on this machine, and how they come from timm's model hub before a training.

timm asks the hub for every model that it builds, also if the weights are in the cache, and tries an
unreachable hub for most of a minute. So weights are fetched once, before the first training, and
`cached_weights` finds them without the hub.
"""

import concurrent.futures
import functools
import queue
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path

from trainer.errors import HubError, first_line
from trainer.model.timm_names import WeightsSource, weights_source

# The hub's usual names of a file of weights, in the order in which timm looks for them.
FILES = ("model.safetensors", "pytorch_model.bin")
ANSWER_S = 5.0  # how long one step of the first question may take: connecting, reading
REACHED_S = 8.0  # how long the first question may take in all: looking up a name can hang
AT_ONCE = 4  # files that are fetched at the same time
SHOWN = 5  # failures that a message lists

Settled = concurrent.futures.Future[None]


def hub_cache() -> Path:
    """The folder in which the hub's client keeps what it has fetched."""
    from huggingface_hub import constants

    return Path(constants.HF_HUB_CACHE)


def cached_weights(backbone: str) -> Path | None:
    """The file with the pretrained weights of a backbone on this machine, or None."""
    source = weights_source(backbone)
    if source is None:
        return None
    if not source.hub_id:
        path = _file_of_url(source.url)
        return path if path.is_file() else None
    from huggingface_hub import try_to_load_from_cache

    repository, revision = _split(source.hub_id)
    for name in _files(source):
        found = try_to_load_from_cache(repository, name, revision=revision)
        if isinstance(found, str):  # else the hub has no such file, or nobody knows
            return Path(found)
    return None


def answers(backbone: str, *, within_s: float = REACHED_S) -> bool:
    """Whether the place that has a backbone's pretrained weights answers in time."""
    source = weights_source(backbone)
    if source is None:
        return False
    try:
        return _begun(functools.partial(_ask, source)).exception(timeout=within_s) is None
    except concurrent.futures.TimeoutError:
        return False


class Fetch:
    """Pretrained weights on their way to this machine, fetched by threads in the background.

    Attributes:
        backbones: the backbones whose weights are fetched; those in the cache are left out.
    """

    def __init__(self, backbones: Iterable[str], *, otherwise: str) -> None:
        """Look for the weights, and ask the places of those that are missing whether they answer.

        The places are asked at the same time, for one of the files that each should have.

        Args:
            otherwise: how the user can do without the weights, as the end of a sentence.
        """
        sources = {name: weights_source(name) for name in dict.fromkeys(backbones)}
        self._sources = {
            name: source
            for name, source in sources.items()
            if source is not None and cached_weights(name) is None
        }
        self.backbones = tuple(self._sources)
        self._otherwise = otherwise
        self._left: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._failed: dict[str, str] = {}
        self._done = 0
        self._started = False
        self._lock = threading.Lock()
        self._over = threading.Event()
        first: dict[str, WeightsSource] = {}
        for source in self._sources.values():
            first.setdefault(_place(source), source)
        self._asked = {place: _begun(functools.partial(_ask, one)) for place, one in first.items()}
        self._until = time.monotonic() + REACHED_S

    def lost(self) -> bool:
        """Whether `start` must fail: REACHED_S is over, and a place has not answered."""
        return time.monotonic() >= self._until and any(
            not answer.done() or answer.exception() is not None for answer in self._asked.values()
        )

    def start(self) -> None:
        """Begin to fetch what is missing; a second call does nothing.

        Raises:
            HubError: a place did not answer within REACHED_S. The message names all backbones that
                miss their weights for it.
        """
        if self._started:
            return
        for place, answer in self._asked.items():
            try:
                error = answer.exception(timeout=max(0.0, self._until - time.monotonic()))
            except concurrent.futures.TimeoutError:
                error = TimeoutError(f"no answer within {REACHED_S:g} s")
            if error is not None:
                lacking = [name for name, one in self._sources.items() if _place(one) == place]
                raise HubError(_unreachable(lacking, place, first_line(error), self._otherwise))
        self._started = True
        for name in self.backbones:
            self._left.put(name)
        for _ in range(min(AT_ONCE, len(self.backbones))):
            threading.Thread(target=self._work, name="weights", daemon=True).start()

    def result(self, watch: Callable[[int, int], None], *, every_s: float = 1.0) -> None:
        """Wait until all weights are here, after `start`.

        Args:
            watch: is called with the numbers of backbones that are over and of all, again and
                again, and once at the end; an exception of it ends the waiting.

        Raises:
            HubError: weights could not be fetched.
        """
        over = not self.backbones
        while not over:
            over = self._over.wait(every_s)
            watch(self._done, len(self.backbones))
        if self._failed:
            raise HubError(_not_fetched(self._failed, self._otherwise))

    def _work(self) -> None:
        while True:
            try:
                name = self._left.get_nowait()
            except queue.Empty:
                return
            ended: Settled = concurrent.futures.Future()
            _settle(ended, functools.partial(_fetch, self._sources[name]))
            error = ended.exception()
            with self._lock:
                if error is not None:
                    self._failed[name] = first_line(error)
                self._done += 1
                if self._done == len(self.backbones):
                    self._over.set()


def _unreachable(backbones: list[str], place: str, reason: str, otherwise: str) -> str:
    many = f"{len(backbones)} backbones are" if len(backbones) > 1 else "1 backbone are"
    return (
        f"the pretrained weights of {many} not on this machine, and {place} cannot be reached "
        f"({reason}): {', '.join(backbones)}.\n{_ways_out(otherwise)}"
    )


def _not_fetched(failed: Mapping[str, str], otherwise: str) -> str:
    many = f"{len(failed)} backbones" if len(failed) > 1 else "1 backbone"
    lines = [f"  {name}: {reason}" for name, reason in list(failed.items())[:SHOWN]]
    if len(failed) > SHOWN:
        lines.append(f"  and {len(failed) - SHOWN} more")
    listed = "\n".join(lines)
    return (
        f"the pretrained weights of {many} could not be fetched:\n{listed}\n{_ways_out(otherwise)}"
    )


def _ways_out(otherwise: str) -> str:
    return (
        "Connect this machine (HF_ENDPOINT names a mirror of the hub, HTTPS_PROXY a proxy), or "
        f"copy the hub's cache of a machine that has the weights to {hub_cache()} "
        f"(HF_HOME moves it), or {otherwise}"
    )


def _ask(source: WeightsSource) -> None:
    """Return if the place answers; raise an error of any kind if it does not."""
    if not source.hub_id:
        try:
            asked = urllib.request.Request(source.url, method="HEAD")
            urllib.request.urlopen(asked, timeout=ANSWER_S).close()
        except urllib.error.HTTPError as refused:
            refused.close()
        return
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.errors import HfHubHTTPError

    repository, revision = _split(source.hub_id)
    url = hf_hub_url(repository, _files(source)[0], revision=revision)
    try:
        answer = get_hf_file_metadata(url, timeout=ANSWER_S)
    except HfHubHTTPError as error:
        # It answers, even if it has not this file. A hub in trouble would be tried for a minute.
        if error.response is None or error.response.status_code >= 500:
            raise
    else:
        if answer.commit_hash is None:
            raise ConnectionError("what answers there is no model hub")


def _fetch(source: WeightsSource) -> None:
    """Fetch the weights into the cache; raise an error of any kind if that fails."""
    if not source.hub_id:
        import torch

        path = _file_of_url(source.url)
        path.parent.mkdir(parents=True, exist_ok=True)
        torch.hub.download_url_to_file(source.url, str(path), progress=False)
        return
    from huggingface_hub import hf_hub_download
    from huggingface_hub.errors import EntryNotFoundError, LocalEntryNotFoundError
    from huggingface_hub.utils.tqdm import disable_progress_bars

    disable_progress_bars()  # the caller shows the progress
    repository, revision = _split(source.hub_id)
    *preferred, last = _files(source)
    for name in preferred:
        try:
            hf_hub_download(repository, name, revision=revision)
        except LocalEntryNotFoundError:  # the hub is gone in the meantime
            raise
        except EntryNotFoundError:
            continue
        return
    hf_hub_download(repository, last, revision=revision)


def _begun(work: Callable[[], None]) -> Settled:
    """The future result of `work`, on a thread that does not keep the process alive.

    Nothing can end the look-up of a name early.
    """
    future: Settled = concurrent.futures.Future()
    threading.Thread(target=_settle, args=(future, work), name="model hub", daemon=True).start()
    return future


def _settle(future: Settled, work: Callable[[], None]) -> None:
    try:
        work()
    except Exception as error:  # noqa: BLE001 - the errors of HTTP clients have no common base
        future.set_exception(error)
    else:
        future.set_result(None)


def _files(source: WeightsSource) -> tuple[str, ...]:
    """The names of the file on the hub that timm tries, in its order."""
    if not source.file:
        return FILES
    if source.file.endswith(".bin"):
        return f"{source.file.removesuffix('.bin')}.safetensors", source.file
    return (source.file,)


def _split(hub_id: str) -> tuple[str, str | None]:
    """The repository and the revision of timm's id of a model."""
    repository, _, revision = hub_id.partition("@")
    return repository, revision or None


def _place(source: WeightsSource) -> str:
    """Who has the weights, for messages."""
    if not source.hub_id:
        return f"{urllib.parse.urlparse(source.url).hostname}"
    from huggingface_hub import constants

    return f"the model hub {constants.ENDPOINT}"


def _file_of_url(url: str) -> Path:
    """The file in which torch keeps the weights of an address that is not on the hub."""
    import torch

    return Path(torch.hub.get_dir()) / "checkpoints" / Path(urllib.parse.urlparse(url).path).name
