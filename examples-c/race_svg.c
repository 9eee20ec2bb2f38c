/* Draws a moment of the race. Each place has a row, and time goes from left to right. */
#include "race.h"

#include <stdlib.h>
#include <string.h>

enum { WIDTH = 900, LEFT = 92, RIGHT = 876, TOP = 84, ROW = 30, BAR = 18, HOLDS_SHOWN = 60, MAX_BATONS = 2000 };

#define FONT "font-family=\"system-ui,-apple-system,'Segoe UI','DejaVu Sans',Helvetica,Arial,sans-serif\""
#define PAPER "#ffffff"
#define INK "#1f2328"
#define FAINT "#656d76"
#define LINE "#d8dee4"
#define HELD "#0969da"
#define WAITING "#f5d78e"
#define DEATH "#cf222e"

typedef struct {
    FILE *file;
    race *race;
    const race_options *options;
    int64_t from, to;
} picture;

typedef struct {
    int64_t begin, end;
    int row;
    bool died;
} hold;

static double x_of(const picture *p, int64_t at)
{
    at = at < p->from ? p->from : at > p->to ? p->to : at;
    return LEFT + (double)(at - p->from) / (double)(p->to - p->from) * (RIGHT - LEFT);
}

static double y_of(int row)
{
    return TOP + row * ROW + ROW / 2.0;
}

/* The events of a place, oldest first. */
static unsigned first_event(const place *place)
{
    unsigned count = atomic_load(&place->event_count);
    return count > MAX_EVENTS ? count - MAX_EVENTS : 0;
}

static const event *event_at(const place *place, unsigned index)
{
    return &place->events[index % MAX_EVENTS];
}

static int count_events(const picture *p, event_kind kind, int64_t from, int64_t to)
{
    int count = 0;
    for (int row = 0; row < p->options->processes; row++) {
        const place *place = &p->race->places[row];
        for (unsigned i = first_event(place); i < atomic_load(&place->event_count); i++) {
            const event *event = event_at(place, i);
            count += event->kind == kind && event->at >= from && event->at < to;
        }
    }
    return count;
}

/* Chooses a moment of about HOLDS_SHOWN holds with the most deaths. The first second does not count, because all start then. */
static void choose_moment(picture *p, int64_t end)
{
    int64_t begin = end > 4000000000 ? 1000000000 : 0;
    for (int row = 0; row < p->options->processes; row++) {
        const place *place = &p->race->places[row];
        unsigned first = first_event(place);
        if (first > 0 && event_at(place, first)->at > begin)
            begin = event_at(place, first)->at; /* the ring has lost the events before */
    }
    int holds = count_events(p, HOLDS, begin, end);
    int64_t length = end - begin;
    if (holds > HOLDS_SHOWN)
        length = length / holds * HOLDS_SHOWN;
    p->from = begin;
    for (int64_t from = begin, most = -1; from + length <= end; from += length / 8 + 1) {
        int deaths = count_events(p, DIED, from, from + length);
        if (deaths > most) {
            most = deaths;
            p->from = from;
        }
    }
    p->to = p->from + length;
}

static void draw_text(const picture *p, double x, double y, const char *style, const char *text)
{
    fprintf(p->file, "<text x=\"%.1f\" y=\"%.1f\" %s>%s</text>\n", x, y, style, text);
}

/* The time of the first hold of another place between two times, or `to` if there is none. */
static int64_t next_hold(const picture *p, int row, int64_t from, int64_t to)
{
    for (int other = 0; other < p->options->processes; other++) {
        const place *place = &p->race->places[other];
        for (unsigned i = first_event(place); other != row && i < atomic_load(&place->event_count); i++) {
            const event *event = event_at(place, i);
            if (event->kind == HOLDS && event->at > from && event->at < to)
                to = event->at;
        }
    }
    return to;
}

/* The supervisor sees a death later than it happened. A dead holder was dead before the next process held. */
static void correct_deaths(const picture *p)
{
    for (int row = 0; row < p->options->processes; row++) {
        place *place = &p->race->places[row];
        for (unsigned i = first_event(place) + 1; i < atomic_load(&place->event_count); i++) {
            event *death = &place->events[i % MAX_EVENTS];
            const event *before = event_at(place, i - 1);
            if (death->kind == DIED && before->kind == HOLDS)
                death->at = next_hold(p, row, before->at, death->at);
        }
    }
}

static void draw_bar(const picture *p, int row, int64_t begin, int64_t end, bool is_held)
{
    if (end <= p->from || begin >= p->to)
        return;
    double x = x_of(p, begin), width = x_of(p, end) - x, height = is_held ? BAR : BAR / 2.0;
    if (is_held && width < 1)
        width = 1;
    fprintf(p->file, "<rect x=\"%.1f\" y=\"%.1f\" width=\"%.1f\" height=\"%.1f\" fill=\"%s\"/>\n", x,
            y_of(row) - height / 2, width, height, is_held ? HELD : WAITING);
}

static void draw_cross(const picture *p, double x, double y)
{
    fprintf(p->file, "<path d=\"M%.1f %.1fl9 9m0 -9l-9 9\" class=\"c\"/>\n", x - 4.5, y - 4.5);
}

/* Draws what one place did, and adds its holds to the list. */
static void draw_row(const picture *p, int row, hold *holds, int *hold_count)
{
    const place *place = &p->race->places[row];
    unsigned end = atomic_load(&place->event_count);
    int64_t since = p->from;
    event_kind state = LEAVES;
    for (unsigned i = first_event(place); i <= end; i++) {
        event now = i < end ? *event_at(place, i) : (event){p->to, state};
        if (state == WAITS || state == HOLDS)
            draw_bar(p, row, since, now.at, state == HOLDS);
        if (state == HOLDS && since < p->to && now.at > p->from && *hold_count < MAX_BATONS)
            holds[(*hold_count)++] = (hold){since, now.at, row, now.kind == DIED};
        since = now.at;
        state = now.kind;
    }
}

static void draw_deaths(const picture *p, int row)
{
    const place *place = &p->race->places[row];
    for (unsigned i = first_event(place); i < atomic_load(&place->event_count); i++) {
        const event *event = event_at(place, i);
        if (event->kind == DIED && event->at >= p->from && event->at < p->to)
            draw_cross(p, x_of(p, event->at), y_of(row));
    }
}

static int by_begin(const void *a, const void *b)
{
    const hold *first = a, *second = b;
    return first->begin < second->begin ? -1 : first->begin > second->begin;
}

/* Draws a thin line from the end of each hold to the next hold. It shows how the lock passes on, also from the dead. */
static void draw_batons(const picture *p, hold *holds, int count)
{
    qsort(holds, (size_t)count, sizeof *holds, by_begin);
    for (int i = 0; i + 1 < count; i++) {
        if (holds[i].end < p->to && holds[i + 1].begin < p->to)
            fprintf(p->file, "<path d=\"M%.1f %.1fL%.1f %.1f\" class=\"%s\"/>\n", x_of(p, holds[i].end), y_of(holds[i].row),
                    x_of(p, holds[i + 1].begin), y_of(holds[i + 1].row), holds[i].died ? "d" : "b");
    }
}

static void draw_axis(const picture *p, double bottom)
{
    static const double STEPS[] = {1e-5, 2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, .01, .02, .05, .1, .2, .5, 1, 2, 5, 10, 60};
    double length = (double)(p->to - p->from) / 1e9;
    size_t i = 0;
    while (i + 1 < sizeof STEPS / sizeof *STEPS && length / STEPS[i] > 9)
        i++;
    int digits = STEPS[i] >= 1 ? 0 : STEPS[i] >= .1 ? 1 : STEPS[i] >= .01 ? 2 : STEPS[i] >= .001 ? 3 : 5;
    for (int64_t n = (int64_t)((double)p->from / 1e9 / STEPS[i]) + 1; (double)n * STEPS[i] * 1e9 < (double)p->to; n++) {
        double x = x_of(p, (int64_t)((double)n * STEPS[i] * 1e9));
        char text[32];
        snprintf(text, sizeof text, "%.*f s", digits, (double)n * STEPS[i]);
        fprintf(p->file, "<path d=\"M%.1f %dV%.1f\" stroke=\"" LINE "\"/>\n", x, TOP, bottom);
        draw_text(p, x, bottom + 17, "font-size=\"12\" fill=\"" FAINT "\" text-anchor=\"middle\"", text);
    }
}

static void draw_legend(const picture *p)
{
    double y = TOP - 20;
    static const struct {
        int x;
        const char *text;
    } ENTRIES[] = {{LEFT, "holds the lock"}, {LEFT + 140, "waits for it"}, {LEFT + 264, "killed (SIGKILL), and replaced"},
                   {LEFT + 510, "the lock passes on"}};
    for (size_t i = 0; i < sizeof ENTRIES / sizeof *ENTRIES; i++)
        draw_text(p, ENTRIES[i].x + 30, y + 4.5, "font-size=\"13\" fill=\"" INK "\"", ENTRIES[i].text);
    fprintf(p->file, "<rect x=\"%d\" y=\"%.1f\" width=\"22\" height=\"14\" fill=\"" HELD "\"/>\n", ENTRIES[0].x, y - 7);
    fprintf(p->file, "<rect x=\"%d\" y=\"%.1f\" width=\"22\" height=\"8\" fill=\"" WAITING "\"/>\n", ENTRIES[1].x, y - 4);
    draw_cross(p, ENTRIES[2].x + 14, y);
    fprintf(p->file, "<path d=\"M%d %.1fh22\" class=\"b\"/>\n", ENTRIES[3].x, y);
}

static void draw_picture(picture *p, const race_result *result)
{
    int rows = p->options->processes, height = TOP + rows * ROW + 66;
    double bottom = TOP + rows * ROW;
    char text[300];
    fprintf(p->file,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" viewBox=\"0 0 %d %d\" " FONT
            " role=\"img\" aria-label=\"Timeline of processes that hold and wait for a lock\">\n"
            "<style>.c{stroke:" DEATH ";stroke-width:2.6;fill:none;stroke-linecap:round}"
            ".b{stroke:#8c959f;stroke-width:1}.d{stroke:" DEATH ";stroke-width:1}</style>\n"
            "<rect x=\"0.5\" y=\"0.5\" width=\"%d\" height=\"%d\" rx=\"8\" fill=\"" PAPER "\" stroke=\"" LINE "\"/>\n",
            WIDTH, height, WIDTH, height, WIDTH - 1, height - 1);
    snprintf(text, sizeof text, "%d processes compete for one lock folder, and some are killed on the way", rows);
    draw_text(p, 24, 35, "font-size=\"18\" font-weight=\"600\" fill=\"" INK "\"", text);
    draw_legend(p);
    draw_axis(p, bottom);

    correct_deaths(p);
    hold *holds = calloc(MAX_BATONS, sizeof *holds);
    int hold_count = 0;
    for (int row = 0; row < rows; row++) {
        snprintf(text, sizeof text, "process %d", row + 1);
        draw_text(p, LEFT - 12, y_of(row) + 4.5, "font-size=\"13\" fill=\"" INK "\" text-anchor=\"end\"", text);
        fprintf(p->file, "<path d=\"M%d %.1fH%d\" stroke=\"" LINE "\"/>\n", LEFT, y_of(row), RIGHT);
        if (holds != NULL)
            draw_row(p, row, holds, &hold_count);
    }
    if (holds != NULL)
        draw_batons(p, holds, hold_count);
    free(holds);
    for (int row = 0; row < rows; row++)
        draw_deaths(p, row);

    snprintf(text, sizeof text, "The whole race, %.0f s: %llu locks, %llu processes killed, %llu violations. %s", result->seconds,
             result->locks, result->killed, result->violations,
             result->good ? "Never two inside at once, and the folder is free."
                          : result->violations > 0 ? "TWO WERE INSIDE AT ONCE." : "NOT ALL WENT WELL.");
    draw_text(p, 24, height - 18, "font-size=\"14\" fill=\"" INK "\"", text);
    fprintf(p->file, "</svg>\n");
}

bool draw(race *race, const race_options *options, const race_result *result)
{
    picture p = {.file = fopen(options->svg, "w"), .race = race, .options = options};
    if (p.file == NULL)
        return false;
    choose_moment(&p, (int64_t)(result->seconds * 1e9));
    draw_picture(&p, result);
    bool written = ferror(p.file) == 0;
    return fclose(p.file) == 0 && written;
}
