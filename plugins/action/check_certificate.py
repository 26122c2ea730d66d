"""Checks a certificate and its key, which the site supplies, on the controller before they are copied to a host."""

from __future__ import annotations

import datetime
import ipaddress
import itertools
import pathlib

from ansible.errors import AnsibleError
from ansible.plugins.action import ActionBase
from ansible.utils.display import Display
from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization

display = Display()


def covers(certificate, name):
    """Tell whether a certificate is for a name.

    Args:
        certificate: cryptography's Certificate.
        name: str, a host name or an IPv4 address.

    Returns:
        A tuple: bool, and the names of the certificate (list of str).
    """
    try:
        names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return False, []
    known = [each.lower() for each in names.get_values_for_type(x509.DNSName)]
    addresses = names.get_values_for_type(x509.IPAddress)
    shown = known + [str(each) for each in addresses]
    try:
        return ipaddress.ip_address(name) in addresses, shown
    except ValueError:
        name = name.lower()
        # An asterisk stands for the first part of a name, and for nothing else.
        return name in known or ("." in name and f"*.{name.partition('.')[2]}" in known), shown


def judge(certificates, key, name, days, now):
    """Judge a certificate with its chain and key.

    Args:
        certificates: list of cryptography's Certificates, as in the file.
        key: cryptography's private key.
        name: str that the certificate is to be for; empty for any.
        days: int, for how many days the certificate should be valid.
        now: datetime.datetime in UTC.

    Returns:
        A tuple of two lists of str, refusals and warnings: what is seen and expected.
    """
    refusals, warnings = [], []
    first = certificates[0]
    ends, begins = first.not_valid_after_utc, first.not_valid_before_utc
    if ends < now:
        refusals.append(f"expired on {ends:%Y-%m-%d}; expected a valid certificate")
    elif begins > now:
        refusals.append(f"is not valid before {begins:%Y-%m-%d %H:%M} UTC; expected a certificate that is valid now")
    elif ends < now + datetime.timedelta(days=days):
        warnings.append(f"expires on {ends:%Y-%m-%d}, in less than {days} days; renew it soon")
    if public(first.public_key()) != public(key.public_key()):
        if any(public(each.public_key()) == public(key.public_key()) for each in certificates[1:]):
            refusals.append("does not have the server's own certificate first; expected that, then each issuer's")
        else:
            refusals.append("does not match its key; expected the key for which it was issued")
    if name:
        covered, names = covers(first, name)
        if not covered:
            refusals.append(f"is for {', '.join(names) or 'no name (subjectAltName)'}; expected {name}")
    for lower, upper in itertools.pairwise(certificates):
        if not issued(lower, upper):
            refusals.append(
                f"has '{lower.subject.rfc4514_string()}' followed by '{upper.subject.rfc4514_string()}', "
                "which did not issue it; expected the server's own certificate first, then each issuer's"
            )
            break
    if len(certificates) == 1 and first.issuer != first.subject:
        warnings.append(
            f"does not include the certificate of its issuer, '{first.issuer.rfc4514_string()}': clients that do not "
            "know the issuer will refuse to connect. Append the certificates of the issuers to the file, unless all "
            "clients trust this certificate itself"
        )
    return refusals, warnings


def public(key):
    """Return a public key (cryptography's) as bytes."""
    return key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)


def issued(lower, upper):
    """Tell whether a certificate (upper) signed another one (lower)."""
    try:
        lower.verify_directly_issued_by(upper)
    except (ValueError, TypeError, InvalidSignature):
        return False
    return True


def read_certificates(content):
    """Read a PEM file (bytes); returns a list of cryptography's Certificates and a str, what is wrong with it."""
    try:
        return x509.load_pem_x509_certificates(content), ""
    except ValueError:
        return [], "contains no readable certificate; expected PEM (-----BEGIN CERTIFICATE-----)"


def read_key(content):
    """Read a PEM file (bytes); returns cryptography's private key, None if it cannot be read, and a str, the reason."""
    try:
        return serialization.load_pem_private_key(content, password=None), ""
    except TypeError:
        return (
            None,
            "has a passphrase, which nobody enters when the service starts; expected a key without (openssl pkey)",
        )
    except ValueError:
        return None, "contains no readable key; expected PEM (-----BEGIN PRIVATE KEY-----)"


class ActionModule(ActionBase):
    """Check a certificate on the controller."""

    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp=None, task_vars=None):
        """Check the files; the result is failed if the service could not use them."""
        result = super().run(tmp, task_vars)
        _, arguments = self.validate_argument_spec(
            {
                "variable": {"type": "str", "required": True},
                "certificate": {"type": "str", "required": True},
                "key": {"type": "str", "required": True},
                "name": {"type": "str", "default": ""},
                "days": {"type": "int", "default": 30},
            }
        )
        variable = arguments["variable"]
        sources = {variable: arguments["certificate"], f"{variable}_key": arguments["key"]}
        contents, problems = {}, []
        for each, path in sources.items():
            contents[each], problem = self._read(path)
            problems += [f"{each} is '{path}', which {problem}."] if problem else []
        if not problems:
            certificates, problem = read_certificates(contents[variable])
            problems += [f"{variable}: {sources[variable]} {problem}."] if problem else []
            key, problem = read_key(contents[f"{variable}_key"])
            problems += [f"{variable}_key: {sources[f'{variable}_key']} {problem}."] if problem else []
        if not problems:
            now = datetime.datetime.now(datetime.UTC)
            refusals, warnings = judge(certificates, key, arguments["name"], arguments["days"], now)
            problems = [f"{variable}: {sources[variable]} {refusal}." for refusal in refusals]
            for warning in warnings:
                display.warning(f"{variable}: {sources[variable]} {warning}.")
        if problems:
            result["failed"] = True
            result["msg"] = "\n".join(
                [*problems, "Replace the file, or correct the variable in the inventory (docs/proxy.md)."]
            )
        return result

    def _read(self, path):
        """Read a file of the controller (str), as the copy module finds it; returns bytes and what is wrong (str)."""
        try:
            found = self._find_needle("files", path)
            mode = pathlib.Path(found).stat().st_mode
            # Decrypted, if Ansible Vault has encrypted it.
            real = self._loader.get_real_file(found)
            content = pathlib.Path(real).read_bytes()
        except (AnsibleError, FileNotFoundError):
            return b"", "does not exist on the controller; expected a file"
        except OSError as problem:
            return b"", f"cannot be read: {problem.strerror}"
        finally:
            self._loader.cleanup_all_tmp_files()
        if b"PRIVATE KEY" in content and mode & 0o004 and real == found:
            display.warning(f"{path} is a private key that every user of the controller can read. Run chmod o= {path}.")
        return content, ""
