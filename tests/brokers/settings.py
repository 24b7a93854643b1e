"""What a node is told before it starts: its configuration files and its environment."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.brokers.certificates import Certificate
from tests.brokers.installation import HOME

MEMORY_LIMIT = "2GiB"

EXTERNAL_PLUGIN = "rabbitmq_auth_mechanism_ssl"

# The settings that bind a plugin's own listener to loopback, at a port of ours.
LISTENERS = {
    "rabbitmq_management": {"management.tcp.ip": "127.0.0.1", "management.tcp.port": "{port}"},
    "rabbitmq_prometheus": {"prometheus.tcp.ip": "127.0.0.1", "prometheus.tcp.port": "{port}"},
    "rabbitmq_mqtt": {"mqtt.listeners.tcp.1": "127.0.0.1:{port}"},
    "rabbitmq_stream": {
        "stream.listeners.tcp.1": "127.0.0.1:{port}",
        "stream.advertised_host": "127.0.0.1",
        "stream.advertised_port": "{port}",
    },
}

BASE = {
    "loopback_users": "none",
    "disk_free_limit.absolute": "50MB",
    "vm_memory_high_watermark.absolute": MEMORY_LIMIT,
    "log.console": "true",
    "log.file": "false",
}

TLS = {
    "ssl_options.cacertfile": f"{HOME}/tls/ca.pem",
    "ssl_options.certfile": f"{HOME}/tls/server.pem",
    "ssl_options.keyfile": f"{HOME}/tls/server.key",
    "ssl_options.versions.1": "tlsv1.3",
    "ssl_options.versions.2": "tlsv1.2",
    "ssl_options.verify": "verify_peer",
    "ssl_options.fail_if_no_peer_cert": "false",
    "ssl_cert_login_from": "common_name",
    "auth_mechanisms.1": "PLAIN",
    "auth_mechanisms.2": "AMQPLAIN",
    "auth_mechanisms.3": "EXTERNAL",
}

# As many schedulers as the machines have that test; none waits by spinning, so that an idle node costs nothing.
ERLANG = "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none -kernel inet_dist_use_interface {127,0,0,1}"


def port_names(plugins: Sequence[str], *, tls: bool) -> list[str]:
    """Of all ports that a node has to be given."""
    return ["amqp", "distribution", "control", *(["tls"] if tls else []), *(name for name in plugins if name in LISTENERS)]


def write(folder: Path, ports: Mapping[str, int], plugins: Sequence[str], extra: Mapping[str, object]) -> None:
    """The configuration files; `extra` goes over what is usual."""
    cookie = folder / ".erlang.cookie"
    if not cookie.exists():
        cookie.write_text("warren", "ascii")
        cookie.chmod(0o400)
    lines = {**BASE, **_listeners(ports), **extra}
    (folder / "rabbitmq.conf").write_text("".join(f"{name} = {value}\n" for name, value in lines.items()), "utf-8")
    # A dead letter that was not confirmed, as its queue had just started, is sent again after 5 s, not after three minutes.
    (folder / "advanced.config").write_text("[{rabbit, [{dead_letter_worker_publisher_confirm_timeout, 5000}]}].\n", "ascii")
    (folder / "enabled_plugins").write_text(f"[{','.join(plugins)}].\n", "ascii")


def write_tls(folder: Path, certificate: Certificate) -> None:
    """What the server shows from its next handshake on."""
    folder = folder / "tls"
    folder.mkdir(exist_ok=True)
    for name, source in (
        ("ca.pem", certificate.ca),
        ("server.pem", certificate.certificate),
        ("server.key", certificate.key),
    ):
        (folder / name).write_bytes(source.read_bytes())


def environment(name: str, ports: Mapping[str, int], epmd_port: int) -> dict[str, str]:
    """For the server and for the commands that speak to it."""
    return {
        "RABBITMQ_NODENAME": name,
        "RABBITMQ_DIST_PORT": str(ports["distribution"]),
        "RABBITMQ_CTL_DIST_PORT_MIN": str(ports["control"]),
        "RABBITMQ_CTL_DIST_PORT_MAX": str(ports["control"] + 50),
        "RABBITMQ_MNESIA_BASE": f"{HOME}/data",
        "RABBITMQ_LOG_BASE": f"{HOME}/log",
        "RABBITMQ_GENERATED_CONFIG_DIR": f"{HOME}/generated",
        "RABBITMQ_ENABLED_PLUGINS_FILE": f"{HOME}/enabled_plugins",
        "RABBITMQ_CONFIG_FILE": f"{HOME}/rabbitmq.conf",
        "RABBITMQ_ADVANCED_CONFIG_FILE": f"{HOME}/advanced.config",
        "RABBITMQ_CONF_ENV_FILE": "/dev/null",
        "RABBITMQ_PID_FILE": f"{HOME}/pid",
        "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": ERLANG,
        # The start script then becomes the server, instead of waiting for it.
        "RUNNING_UNDER_SYSTEMD": "true",
        "ERL_EPMD_PORT": str(epmd_port),
        "ERL_EPMD_ADDRESS": "127.0.0.1",
        "ERL_CRASH_DUMP_SECONDS": "0",
    }


def _listeners(ports: Mapping[str, int]) -> dict[str, str]:
    lines = {"listeners.tcp.1": f"127.0.0.1:{ports['amqp']}"}
    if "tls" in ports:
        lines |= {"listeners.ssl.1": f"127.0.0.1:{ports['tls']}", **TLS}
    for plugin, settings in LISTENERS.items():
        if plugin in ports:
            lines |= {name: value.format(port=ports[plugin]) for name, value in settings.items()}
    return lines
