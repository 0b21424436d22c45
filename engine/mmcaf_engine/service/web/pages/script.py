"""The one script of the pages: what is on the screen follows the service. Without it they work all the same.

It listens to the events' stream, and asks from time to time where there is none; then it loads the page that is shown
once more and takes over each part marked data-live, unless somebody is typing in it.
"""

SCRIPT = """
(() => {
  'use strict'
  const parts = () => document.querySelectorAll('[data-live]')
  if (!parts().length) return
  const names = document.body.dataset.events.split(' ')
  const told = document.getElementById('told')
  const tell = text => { if (told && told.textContent !== text) told.textContent = text }
  let busy = false, again = false, source = null, timer = 0, planned = 0

  for (const event of ['input', 'change'])
    document.addEventListener(event, ({target}) => {
      const part = target.closest('[data-live]')
      if (part) part.dataset.typed = ''
    })

  const take = (old, now) => {
    for (const one of old.querySelectorAll('details[id][open]')) {
      const same = now.querySelector('#' + CSS.escape(one.id))
      if (same) same.open = true
    }
    if (old.isEqualNode(now)) return
    const focused = old.contains(document.activeElement) ? document.activeElement.id : ''
    const scrolled = [...old.querySelectorAll('.scroll')].map(one => one.scrollLeft)
    old.replaceWith(now)
    now.querySelectorAll('.scroll').forEach((one, at) => { one.scrollLeft = scrolled[at] || 0 })
    if (focused) document.getElementById(focused)?.focus({preventScroll: true})
  }

  const look = async () => {
    planned = 0
    if (busy) { again = true; return }
    busy = true
    try {
      const answer = await fetch(location.href, {redirect: 'manual', cache: 'no-store', headers: {Accept: 'text/html'}})
      if (answer.type === 'opaqueredirect' || answer.status === 401) { location.reload(); return }
      if (!answer.ok) throw new Error(answer.status)
      const fresh = new DOMParser().parseFromString(await answer.text(), 'text/html')
      for (const old of parts()) {
        const now = fresh.getElementById(old.id)
        if (now && !('typed' in old.dataset)) take(old, document.importNode(now, true))
      }
      tell('Up to date')
    } catch {
      tell('The service does not answer. What you see is what was known last.')
    }
    busy = false
    if (again) { again = false; soon() }
  }
  const soon = () => { planned ||= setTimeout(look, 700) }

  const listen = () => {
    source = new EventSource('/api/v1/events')
    for (const name of names) source.addEventListener(name, soon)
    source.addEventListener('open', soon)
  }
  const isOpen = () => source && source.readyState === EventSource.OPEN
  let asked = Date.now()
  const tick = () => {
    if (Date.now() - asked < (isOpen() ? 15000 : 3000)) return
    asked = Date.now()
    if (source && source.readyState === EventSource.CLOSED) { source.close(); listen() }
    soon()
  }
  const follow = () => {
    clearInterval(timer)
    if (source) source.close()
    source = null
    if (document.hidden) return
    listen()
    timer = setInterval(tick, 1000)
  }
  document.addEventListener('visibilitychange', follow)
  addEventListener('pagehide', () => source && source.close())
  addEventListener('pageshow', event => event.persisted && follow())
  follow()
})()
"""
