"""`Stream` over TensorFlow Serving's REST interface."""

import urllib.parse

import requests

from rnnzoo.serving import _json
from rnnzoo.serving._specs import signatures_of_json
from rnnzoo.serving.errors import HTTP_STATUS, ServingError

_CODES = {status: code for code, status in reversed(HTTP_STATUS.items())}


class Rest:
    """One kept connection to one model."""

    def __init__(self, address, model):
        self.address = address.rstrip("/")
        self._model = f"{self.address}/v1/models/{urllib.parse.quote(model, safe='')}"
        self._session = requests.Session()
        self._session.trust_env = False

    def metadata(self, version, timeout):
        """`(version, {name: Signature})` of the model."""
        answer = self._call("GET", self._path(version) + "/metadata", timeout)
        try:
            fields = answer.json()
            found = signatures_of_json(fields["metadata"]["signature_def"])
            return int(fields["model_spec"]["version"]), found
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise ServingError(
                "INTERNAL", f"{self.address} does not answer as TensorFlow Serving does: {error!r}"
            ) from error

    def predict(self, version, name, signature, arrays, timeout):
        body = _json.request(name, arrays)
        answer = self._call("POST", self._path(version) + ":predict", timeout, data=body)
        return _json.arrays_of_response(answer.content, signature.outputs)

    def _path(self, version):
        return self._model if version is None else f"{self._model}/versions/{version}"

    def _call(self, method, url, timeout, **body):
        try:
            answer = self._session.request(
                method, url, timeout=timeout, allow_redirects=False, **body
            )
        except requests.Timeout as error:
            raise TimeoutError(f"no answer of {self.address} in {timeout:.3g} s") from error
        except (requests.ConnectionError, requests.exceptions.ChunkedEncodingError) as error:
            raise ConnectionError(str(error)) from error
        except requests.RequestException as error:
            raise ValueError(
                f"`address` must be http://host:port. Received: address={self.address!r} ({error})"
            ) from error
        if answer.status_code == 200:
            return answer
        words = _words(answer)
        if answer.status_code == 503:
            raise ConnectionError(words)
        if answer.status_code == 504:
            raise TimeoutError(words)
        raise ServingError(_CODES.get(answer.status_code, "UNKNOWN"), words)

    def close(self):
        self._session.close()


def _words(answer):
    """What the server says is wrong."""
    try:
        return answer.json()["error"]
    except (ValueError, KeyError, TypeError):
        return f"HTTP status {answer.status_code}: {answer.text[:200]}"
