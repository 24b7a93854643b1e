// What the server tells each second, kept for all pages; they are called when something has changed.

const KEPT = 600;

export class Live {
  constructor() {
    this.pipelines = new Map();
    this.points = new Map();
    this.notices = [];
    this.now = 0;
    this.state = "connecting";
    this.watchers = new Set();
  }

  watch(call) {
    this.watchers.add(call);
    return () => this.watchers.delete(call);
  }

  open(refused) {
    this.source?.close();
    this.source = new EventSource("/api/events");
    this.source.addEventListener("hello", (event) => {
      const told = JSON.parse(event.data);
      this.points = new Map(Object.entries(told.points));
      this.take(told, false);
    });
    this.source.addEventListener("tick", (event) => this.take(JSON.parse(event.data), true));
    this.source.addEventListener("error", () => {
      this.tell("lost");
      // An answer other than 200 ends it for good; find out whether it was for want of a token.
      if (this.source.readyState === EventSource.CLOSED) refused();
    });
  }

  take(told, adds) {
    this.now = told.now;
    this.notices = told.notices;
    this.pipelines = new Map(told.pipelines.map((pipe) => [pipe.name, pipe]));
    if (adds) {
      for (const pipe of told.pipelines) {
        if (!this.points.has(pipe.name)) this.points.set(pipe.name, []);
        const points = this.points.get(pipe.name);
        if (pipe.point && points.at(-1)?.at !== pipe.point.at) points.push(pipe.point);
        if (points.length > KEPT) points.splice(0, points.length - KEPT);
      }
    }
    this.tell("live");
  }

  tell(state) {
    this.state = state;
    for (const watcher of this.watchers) watcher();
  }
}
